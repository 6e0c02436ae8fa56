"""The page that describes the API: Swagger's, in the colours that the reader prefers, with a way back."""

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.responses import HTMLResponse

_FILES = "/static-offline-docs"
_REDIRECT = "/docs/oauth2-redirect"
#: Swagger's own dark colours are chosen by a class of the root element.
_HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
body { margin: 0; }
.back { margin: 0; padding: 12px 20px; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
.back a { color: #1459c7; } .dark-mode .back a { color: #82bbff; } .dark-mode body { background: #12161c; }
</style>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
</script>
</head>"""
_BACK = (
    '<p class="back"><a href="/">\u2190 model_deployment: overview</a> \u00b7 '
    '<a href="/dashboard/registry">registry</a></p>'
)


def router(title: str) -> APIRouter:
    """
    Args:
        title: of the application.
    """
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"API \u00b7 {title}",
            oauth2_redirect_url=_REDIRECT,
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url="/dashboard/static/icon.svg",
        )
        text = bytes(page.body).decode()
        text = text.replace("<html>", '<html lang="en">').replace("</head>", _HEAD)
        return HTMLResponse(text.replace("<body>", f"<body>{_BACK}"))

    @routes.get(_REDIRECT)
    async def redirect() -> HTMLResponse:
        return get_swagger_ui_oauth2_redirect_html()

    return routes
