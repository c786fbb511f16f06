"""One HTML page that shows what a scoring found."""

from evaluation.report.page import write_report

__all__ = ["write_report"]
