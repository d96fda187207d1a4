"""What probes and Prometheus ask of the operator, by HTTP."""

from __future__ import annotations

from aiohttp import web

from tiercel_operator.runner import Runner

_METRICS = """\
# HELP tiercel_operator_leads Whether this operator is the one that writes.
# TYPE tiercel_operator_leads gauge
tiercel_operator_leads {leads}
# HELP tiercel_operator_security_rules SecurityRules that it knows.
# TYPE tiercel_operator_security_rules gauge
tiercel_operator_security_rules {rules}
# HELP tiercel_operator_node_agents NodeAgents that it knows.
# TYPE tiercel_operator_node_agents gauge
tiercel_operator_node_agents {agents}
# HELP tiercel_operator_reconciliations_total How often it has worked out what is to be there.
# TYPE tiercel_operator_reconciliations_total counter
tiercel_operator_reconciliations_total {plans}
# HELP tiercel_operator_writes_total Objects that it has written.
# TYPE tiercel_operator_writes_total counter
tiercel_operator_writes_total {writes}
# HELP tiercel_operator_failures_total Turns that ended in trouble with the API.
# TYPE tiercel_operator_failures_total counter
tiercel_operator_failures_total {failures}
"""


async def serve_health(runner: Runner, host: str, port: int) -> web.AppRunner:
    """Serves until ``cleanup`` of what it gives. Raises OSError if the port is taken."""

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_request: web.Request) -> web.Response:
        text = _METRICS.format(
            leads=int(runner.leads),
            rules=len(runner.state.rules),
            agents=len(runner.state.agents),
            plans=runner.counts.plans,
            writes=runner.counts.writes,
            failures=runner.counts.failures,
        )
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    application = web.Application()
    application.add_routes([web.get("/healthz", healthy), web.get("/metrics", metrics)])
    serving = web.AppRunner(application, access_log=None)
    await serving.setup()
    await web.TCPSite(serving, host, port).start()
    return serving
