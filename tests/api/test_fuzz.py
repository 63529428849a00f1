"""A thousand requests that schemathesis makes of the OpenAPI document; `make fuzz` sends twelve times as many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import campaign


@pytest.mark.django_db(transaction=True)
def test_no_request_breaks_the_site_or_the_document_or_shows_a_foreign_row(tmp_path: Path, settings: Any) -> None:
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"
    report = campaign.run(examples=4, coverage=16)
    assert report.found == []
    assert report.cases >= 1000
    assert report.operations > 150
    assert report.statuses[200] > 200
    assert report.marked >= 40
