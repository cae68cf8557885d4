"""Has pytest-html write the claim report: html_report.py's body as its summary, and its own table below as the log.

pytest-html inserts its summary, cells and environment as they are, so they are escaped here or left out. It opens the
file it writes where an earlier report may stand; lib/plugin/reporting.py's way of writing takes that over.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import pytest
from pytest_html.basereport import BaseReport
from pytest_html.report_data import ReportData

from lib.plugin.pytest_plugin import require_writable
from lib.plugin.reporting import Reporting
from lib.reports import html_report

VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
# Empty, because pytest-html's table comes after it: report.css hides the table while this is closed.
LOG = '<details id="log"><summary><h2>Log of every test</h2></summary></details>'


def pytest_configure(config: pytest.Config) -> None:
    """Ask pytest-html for the report. pytest calls later plugins first, so pytest-html, an installed one, reads it."""
    option = config.option
    if option.claims_report is None or hasattr(config, "workerinput"):
        return
    asked = bool(option.htmlpath)
    if asked:
        require_writable(Path(os.path.expandvars(option.htmlpath)).expanduser().parent, option="--html")
    option.htmlpath = option.htmlpath or str(option.claims_report / "claims.html")
    option.self_contained_html = True  # one file that can be sent to somebody
    reporting: Reporting = config.pluginmanager.getplugin("claims-reporting")
    config.pluginmanager.register(HtmlReport(config, reporting, asked=asked), "claims-html")


class HtmlReport:
    """The plugin object of one session. `asked`: --html was given, so there is a page even where no claim ran."""

    def __init__(self, config: pytest.Config, reporting: Reporting, *, asked: bool) -> None:
        self.config = config
        self.reporting = reporting
        self.asked = asked
        self.data: ReportData | None = None
        self.writer: BaseReport | None = None

    def pytest_plugin_registered(self, plugin: object) -> None:
        if isinstance(plugin, BaseReport):
            self.writer = plugin
            plugin._write_report = self.write

    def write(self, page: str) -> None:
        """Hand the page to those who write all reports, and say where they are.

        pytest-html's own script, the page's last, draws hundreds of rows: report.js runs it once the log is opened.
        """
        if self.asked or self.reporting.measured:
            before, script, rest = page.rpartition("<script>")
            deferred = f'{before}<script type="text/plain" id="log-script">{rest}' if script else page
            self.reporting.reports[self.writer._report_path] = deferred

    def pytest_html_report_title(self, report: ReportData) -> None:
        self.data = report  # called when the session starts: what was measured is known at its end
        report.set_data("environment", {})  # variables of a CI job that may hold markup, or its credentials

    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        session = self.reporting.measured or self.reporting.session()
        self.data.title = html_report.title(session)
        self.config.pluginmanager.unregister(self.writer)  # else it says it wrote the file even where it could not
        prefix += [VIEWPORT, f"<style>{html_report.style()}</style>", html_report.body(session), LOG]

    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        del cells[3:]  # Links; Result, Test and Duration stay

    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        cells[1] = f'<td class="col-testId">{escape(report.nodeid)}</td>'
        del cells[3:]

    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        if report.passed:
            data.clear()
