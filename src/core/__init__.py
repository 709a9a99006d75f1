"""What every stage stands on: config, manifest, ledger, stage, records, tables, secrets, errors, log."""
