"""What a text has to be like to be kept: each filter looks at one record alone, so that they run under any engine."""

from typing import Annotated

from pydantic import Field

from src.scrape.filters.boilerplate import BoilerplateFilter
from src.scrape.filters.c4 import C4Filter
from src.scrape.filters.gopher import GopherFilter
from src.scrape.filters.length import LengthFilter
from src.scrape.filters.licence import LicenceFilter
from src.scrape.filters.pii import PiiFilter
from src.scrape.filters.regex import RegexFilter

Filter = Annotated[
    LengthFilter | GopherFilter | C4Filter | BoilerplateFilter | PiiFilter | LicenceFilter | RegexFilter, Field(discriminator="type")
]
