"""Pictures and the HTML page of a run: one file that opens anywhere, with no network and no script.

    from jaxcnn import report

    page = report.Page(
        "LeNet on digits",
        headline=[report.Number("test accuracy", "98.3 %", "of 360 images")],
        sections=[
            report.Section("Training", [report.Picture(report.curves(history), caption="...", alt="...")]),
            report.Section("Settings", [report.Facts({"seed": 0, "epochs": 30})]),
        ],
    )
    page.write("runs/lenet/report.html")

Drawing takes numpy arrays and returns matplotlib figures; it needs `pip install "jaxcnn[viz]"`.
"""

from jaxcnn.report.annotated import annotated
from jaxcnn.report.classes import confusion, label_counts
from jaxcnn.report.classifier import classifier_sections
from jaxcnn.report.epochs import curves
from jaxcnn.report.histograms import value_histograms
from jaxcnn.report.insides import feature_maps, filters
from jaxcnn.report.overlay import overlay
from jaxcnn.report.page import Facts, Number, Page, Picture, Section, Table, Verbatim
from jaxcnn.report.pictures import image_grid, mistakes
from jaxcnn.report.rates import learning_rates
from jaxcnn.report.rows import image_rows
from jaxcnn.report.seeds import seed_dots

__all__ = [
    "Facts",
    "Number",
    "Page",
    "Picture",
    "Section",
    "Table",
    "Verbatim",
    "annotated",
    "classifier_sections",
    "confusion",
    "curves",
    "feature_maps",
    "filters",
    "image_grid",
    "image_rows",
    "label_counts",
    "learning_rates",
    "mistakes",
    "overlay",
    "seed_dots",
    "value_histograms",
]
