"""People and gift codes from a file, and people into a file. All of a file comes in, or nothing of it."""

from __future__ import annotations

from funnel.importing.codes import CodeImport, import_codes
from funnel.importing.export import export_people
from funnel.importing.people import Import, import_people
from funnel.importing.result import Fault, ImportResult

__all__ = ["CodeImport", "Fault", "Import", "ImportResult", "export_people", "import_codes", "import_people"]
