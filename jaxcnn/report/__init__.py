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

from jaxcnn.report.adversarial_rows import adversarial_rows
from jaxcnn.report.annotated import annotated
from jaxcnn.report.attributions import attributions
from jaxcnn.report.boxes import boxes
from jaxcnn.report.by_layer import by_layer
from jaxcnn.report.class_means import class_means
from jaxcnn.report.classes import confusion, label_counts
from jaxcnn.report.classifier import classifier_sections
from jaxcnn.report.detectors import detectors
from jaxcnn.report.embedding_scatter import embedding_scatter
from jaxcnn.report.epochs import curves
from jaxcnn.report.heat_map import heat_map
from jaxcnn.report.histograms import value_histograms
from jaxcnn.report.insides import feature_maps, filters
from jaxcnn.report.keypoints import keypoints
from jaxcnn.report.masks import masks
from jaxcnn.report.overlay import overlay
from jaxcnn.report.page import Facts, Link, Links, Number, Page, Picture, Section, Table, Verbatim
from jaxcnn.report.perturbation_sizes import perturbation_sizes
from jaxcnn.report.pictures import image_grid, mistakes
from jaxcnn.report.rates import learning_rates
from jaxcnn.report.robustness_curves import robustness_curves
from jaxcnn.report.rows import image_rows
from jaxcnn.report.seeds import seed_dots
from jaxcnn.report.unit_patches import unit_patches

__all__ = [
    "Facts",
    "Link",
    "Links",
    "Number",
    "Page",
    "Picture",
    "Section",
    "Table",
    "Verbatim",
    "adversarial_rows",
    "annotated",
    "attributions",
    "boxes",
    "by_layer",
    "class_means",
    "classifier_sections",
    "confusion",
    "curves",
    "detectors",
    "embedding_scatter",
    "feature_maps",
    "filters",
    "heat_map",
    "image_grid",
    "image_rows",
    "keypoints",
    "label_counts",
    "learning_rates",
    "masks",
    "mistakes",
    "overlay",
    "perturbation_sizes",
    "robustness_curves",
    "seed_dots",
    "unit_patches",
    "value_histograms",
]
