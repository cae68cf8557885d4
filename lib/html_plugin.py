"""Hands the claim report to pytest-html: its hooks, filled from the session's records.

pytest-html inserts rows and summaries as they are, sorts columns as text, and has rows for collection and set-up
failures too; html_report.py deals with all three.
"""

from __future__ import annotations

from functools import partial

import pytest
from pytest_html import extras
from pytest_html.basereport import BaseReport

from lib import html_report
from lib.reporting import Reporting, claim_of


class HtmlReport:
    """The plugin object of one session that writes an HTML report."""

    def __init__(self, reporting: Reporting) -> None:
        self.reporting = reporting
        self.page = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Let pytest-html's page be written whole or not at all; itself it empties the earlier one first."""
        for plugin in session.config.pluginmanager.get_plugins():
            if isinstance(plugin, BaseReport):
                plugin._write_report = partial(self.reporting.write, plugin._report_path)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Put the reasons above the log of a row; pytest-html reads report.extras later in the same hook."""
        if report.when == "call" or not report.passed:
            detail = html_report.detail(claim_of(report))
            report.extras = [*getattr(report, "extras", []), *([extras.html(detail)] if detail else [])]

    def pytest_html_report_title(self, report: object) -> None:
        self.page = report  # called when the session starts: what was measured is known at its end

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        session = self.reporting.session()
        self.page.title = html_report.title(session)
        prefix.extend(html_report.summary(session))

    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        cells[1:] = html_report.header_cells()  # keeps Result; drops Test, Duration and Links

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        cells[1:] = html_report.row_cells(claim_of(report))

    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        if not report.failed:
            data.clear()
