#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goes through a sign-in as a person would: the gateway's page, glewlwyd's login and consent pages, back.

    browser.py DEVICE-PAGE-URL CALLBACK-URL [SCREENSHOT-FOLDER]

Drives a headless Chromium over its DevTools protocol. Nothing of a page's own is bypassed: fields are typed into and
buttons are clicked. Exits with an error when a page is not what it should be.
"""
import base64, json, os, shutil, subprocess, sys, tempfile, time, urllib.request

import websocket

page_url, callback = sys.argv[1:3]
shots = sys.argv[3] if len(sys.argv) > 3 else None
profile = tempfile.mkdtemp(prefix="chromium-")
chromium = subprocess.Popen(
    ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
     "--disable-background-networking", "--lang=en", "--window-size=900,760", "--remote-debugging-port=0",
     "--remote-allow-origins=*", "--user-data-dir=" + profile, "about:blank"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


tab = None


def wait(test, what, seconds=30):
    end, last = time.time() + seconds, None
    while time.time() < end:
        try:
            last = test()
            if last:
                return last
        except Exception as error:
            last = error
        time.sleep(0.1)
    if tab:
        tab.shot("stuck")
        print("stuck at", tab.url(), "|", tab.text()[:400].replace("\n", " | "), file=sys.stderr)
    sys.exit(f"timed out waiting for {what}: {last!r}")


class Tab:
    def __init__(self):
        port_file = os.path.join(profile, "DevToolsActivePort")
        port = wait(lambda: open(port_file).read().split("\n")[0], "Chromium")
        pages = wait(lambda: [t for t in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json")) if t["type"] == "page"], "a tab")
        self.socket, self.number, self.shot_number = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=30), 0, 0

    def send(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message["result"]

    def run(self, expression):
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def url(self):
        return self.run("location.href")

    def text(self):
        return self.run("document.body.innerText")

    def click(self, expression):
        wait(lambda: self.run(f"!!({expression})"), expression)
        self.run(f"({expression}).click()")

    def type(self, selector, text):
        wait(lambda: self.run(f"!!document.querySelector({json.dumps(selector)})"), selector)
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def shot(self, name):
        if shots:
            os.makedirs(shots, exist_ok=True)
            self.shot_number += 1
            data = self.send("Page.captureScreenshot")["data"]
            open(f"{shots}/{self.shot_number}-{name}.png", "wb").write(base64.b64decode(data))


GRANT = "[...document.querySelectorAll('button.btn-primary')].find(b => b.textContent.trim() == 'Grant access')"
CONTINUE = "document.querySelector('button.btn-success[title=\"Continue to client application\"]')"

try:
    tab = Tab()
    tab.send("Page.enable")
    tab.send("Page.navigate", url=page_url)
    wait(lambda: "Approve sign-in?" in tab.text(), "the gateway's page")
    tab.shot("approve")
    tab.click("document.querySelector('button:not(.deny)')")

    wait(lambda: tab.run("!!document.querySelector('#passwordForm #password')"), "glewlwyd's login page")
    tab.shot("login")
    tab.type("#username", "ada")
    tab.type("#password", "lovelace-1815")
    tab.click("document.querySelector('#loginbut')")

    # glewlwyd asks for consent, then to continue; both are one page that changes.
    wait(lambda: tab.run(f"!!({GRANT})"), "the consent page")
    tab.run("document.querySelectorAll('input[id^=\"grant-\"]').forEach(i => { if (!i.checked) i.click() })")
    tab.shot("consent")
    tab.click(GRANT)
    tab.click(CONTINUE)
    wait(lambda: tab.url().startswith(callback), "the way back")
    wait(lambda: "You're signed in" in tab.text(), "the gateway's last page")
    tab.shot("done")
    print("the browser says:", tab.text().replace("\n", " | "))
finally:
    chromium.terminate()
    try:
        chromium.wait(10)
    except subprocess.TimeoutExpired:
        chromium.kill()
    shutil.rmtree(profile, ignore_errors=True)
