"""What is drawn rather than written."""

import segno


def qr_code(text: str) -> str:
    """An SVG for an authenticator's camera: dark on white in any theme, and without a style that the CSP would drop."""
    return segno.make(text, error="m", micro=False).svg_inline(
        scale=4, dark="#000", light="#fff", svgclass="hm-qr", lineclass=None, title="The code for your authenticator"
    )
