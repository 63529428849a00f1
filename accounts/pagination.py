"""Pages of lists over the API. (A module of its own: DRF imports it while it loads its views.)"""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Pages by cursor, newest first; rows that arrive meanwhile neither repeat nor hide any."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering: Any = ("-created_at", "-pk")
