"""What the services counted, over HTTP and on pages. Prometheus' own text stands at /metrics."""

from decimal import Decimal

from flask import Response, render_template, request
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.routes.listings import SERIES
from hivematrix_helm.routes.pages import Answer, pages, settings
from hivematrix_helm.schemas.watching import MetricList, MetricQuery, ServiceName
from hivematrix_helm.services import measuring

api = Api("charts", __name__)
SPANS = (
    *(("1h", "1 hour"), ("6h", "6 hours"), ("1d", "1 day"), ("2d", "2 days")),
    *(("14d", "14 days"), ("90d", "90 days"), ("365d", "1 year")),
)


@api.get("/api/metrics/<service>", scope="helm:read", responses={200: MetricList}, summary="What a service counted")
def metrics(path: ServiceName, query: MetricQuery) -> Response:
    """Without `metric_name` the names there are. Mean, lowest, highest and number of samples of each stretch."""
    if not query.metric_name:
        return json_answer({"service": path.service, "names": measuring.names(path.service), "series": []})
    found = measuring.answer(path.service, query.metric_name, query.since, query.until)
    return json_answer({"names": [query.metric_name], **found})


@pages.get("/charts", scope="helm:read")
def charts() -> Answer:
    """Every series with its newest value."""
    listing = measuring.listing(SERIES)
    return listing.csv() if listing.wants_csv else render_template("helm/charts.html", listing=listing)


@pages.get("/charts/<int:number>", scope="helm:read")
def chart(number: int) -> Answer:
    """One series over a span, drawn; its figures in words beside it."""
    span = request.args.get("span", "1d")
    found = measuring.one(number, span, "")
    means = [None if mean is None else Decimal(str(mean)) for mean in measuring.slots(found, settings().scrape.seconds)]
    low = min([mean for mean in means if mean is not None], default=Decimal(0))
    return render_template(
        "helm/chart.html", found=found, means=means, low=min(low, Decimal(0)), span=span, spans=SPANS
    )
