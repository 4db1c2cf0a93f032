#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goes through a sign-in as a person would: the gateway's page, LemonLDAP::NG's login and consent pages, back.

    browser.py DEVICE-PAGE-URL CALLBACK-URL USER PASSWORD [consent]

The portal's forms work without scripts, so this is no browser engine but forms, cookies and redirects. Like a browser it
follows no redirect that the form-action of the page with the form forbids. Exits with an error when a page is not what
it should be, or when the consent page shows, or does not, against what was said.
"""
import html.parser, http.cookiejar, sys, urllib.error, urllib.parse, urllib.request

page_url, callback, user, password = sys.argv[1:5]
consents = sys.argv[5:] == ["consent"]


def origin(url):
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Page(html.parser.HTMLParser):
    """The forms and the text of a page."""

    def __init__(self, url, headers, source):
        super().__init__()
        self.url, self.forms, self.words, self.silent = url, [], [], 0
        self.targets = None
        for policy in headers.get_all("content-security-policy") or []:
            for directive in policy.split(";"):
                name, *values = directive.split() or [""]
                if name == "form-action":
                    self.targets = values
        self.feed(source)
        self.text = " | ".join(self.words)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.forms.append({"action": attributes.get("action") or "", "method": attributes.get("method", "get"), "fields": {}})
        elif tag == "input" and self.forms and attributes.get("name") and attributes.get("type") != "checkbox":
            self.forms[-1]["fields"][attributes["name"]] = attributes.get("value") or ""
        self.silent += tag in ("script", "style", "title")

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style", "title")

    def handle_data(self, data):
        if data.strip() and not self.silent:
            self.words.append(" ".join(data.split()))

    def allows(self, url):
        if self.targets is None or "*" in self.targets:
            return True
        return origin(url) in [origin(self.url) if target == "'self'" else target.rstrip("/") for target in self.targets]

    def has(self, field):
        return any(field in form["fields"] for form in self.forms)

    def submit(self, **values):
        """Sends the page's only form, with fields filled in that it must have."""
        if len(self.forms) != 1:
            sys.exit(f"{self.url} has {len(self.forms)} forms: {self.text[:400]}")
        form = self.forms[0]
        missing = set(values) - set(form["fields"])
        if missing or form["method"].lower() != "post":
            sys.exit(f"the form of {self.url} is not the expected one: {form}")
        return load(urllib.parse.urljoin(self.url, form["action"]), {**form["fields"], **values}, self)

    def expect(self, what, holds):
        if not holds:
            sys.exit(f"{what} was expected, but {self.url} says: {self.text[:600]}")


class Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, fp, code, message, headers, url):
        if request.form_page and not request.form_page.allows(url):
            sys.exit(f"form-action {request.form_page.targets} of {request.form_page.url} forbids the way to {url}")
        next_request = super().redirect_request(request, fp, code, message, headers, url)
        next_request.form_page = request.form_page
        return next_request


opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), Redirects, urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))


def load(url, fields=None, form_page=None):
    if form_page and not form_page.allows(url):
        sys.exit(f"form-action {form_page.targets} of {form_page.url} forbids {url}")
    request = urllib.request.Request(url, fields and urllib.parse.urlencode(fields).encode(), {"accept": "text/html"})
    if fields:
        request.add_header("origin", origin(form_page.url))
    request.form_page = form_page
    try:
        response = opener.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url} answers HTTP {error.code}: {Page(error.url, error.headers, error.read().decode()).text[:600]}")
    return Page(response.url, response.headers, response.read().decode())


page = load(page_url)
page.expect("the gateway's page", "Approve sign-in?" in page.text)
page = page.submit()
page.expect("the portal's login page", page.has("password"))
page = page.submit(user=user, password=password)
if consents:
    page.expect("the consent page", page.has("confirm") and "yourOffline" in page.text)
    page = page.submit(confirm="1")
page.expect("the gateway's last page", page.url.startswith(callback) and "You're signed in" in page.text)
print("the browser says:", page.text)
