# Containers by one word each. Engines and stores come by profile: make up PROFILES="vllm qdrant"; see compose.yaml.
PROFILES ?= ollama
COMPOSE = docker compose $(addprefix --profile ,$(PROFILES))
ALL = docker compose --profile '*'
export COMPOSE_FILE := compose.yaml$(if $(shell command -v nvidia-smi),:deploy/gpu.yaml)
# Docker refuses more than there are
export ENGINE_CPUS ?= $(shell nproc)
# whose notebooks Jupyter writes
export DEV_UID := $(shell id -u)
export DEV_GID := $(shell id -g)
.DEFAULT_GOAL := help
.PHONY: help secrets up dev jupyter test logs down clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

secrets:  ## write the secrets that .env lacks
	@bash_script/secrets

up: secrets  ## two gateways behind nginx on http://127.0.0.1:8000, Redis, and PROFILES
	$(COMPOSE) up --build --detach --wait

dev: secrets  ## the same with a gateway from the working tree on :8001, restarted on change, and Jupyter
	docker compose --profile dev $(addprefix --profile ,$(PROFILES)) up --build --watch

jupyter: secrets  ## Jupyter alone, on http://127.0.0.1:8888; its token is in .env
	docker compose up --build --detach --no-deps jupyter

test:  ## what CI runs, here
	bash_script/check

logs:  ## what all say
	$(ALL) logs --follow --tail 100

down:  ## end all; what they keep stays
	$(ALL) down --remove-orphans

clean:  ## end all and delete what they keep: keys, audit logs, models. Asks first
	@printf 'This deletes keys, audit logs, vectors and pulled models of all containers. Type yes: '; read answer && [ "$$answer" = yes ]
	$(ALL) down --remove-orphans --volumes --rmi local
