// SPDX-License-Identifier: Apache-2.0

/// The pages' texts. `{{…}}` is escaped; `{{{…}}}` stands only for what this program wrote itself.
enum PageTemplates {
    static let all: [String: String] = [
        "frame": """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="robots" content="noindex">
        <title>{{title}} · {{host}}</title>
        <style>{{{style}}}</style>
        </head>
        <body>
        <main>
        <p class="brand">Claude gateway · {{host}}</p>
        {{{body}}}
        </main>
        </body>
        </html>
        """,
        "landing": """
        <h1>Claude gateway</h1>
        <p>This gateway connects your organization's developers to Claude. It runs at <code>{{url}}</code>.</p>
        <dl>
        <dt>Connect Claude Code</dt>
        <dd>Your administrator names this address in the managed settings (<code>forceLoginGatewayUrl</code>); then <code>/login</code> leads here.</dd>
        <dt>From a terminal</dt>
        <dd><code>claude login {{url}}</code></dd>
        <dt>Identity provider</dt>
        <dd>{{issuer}}</dd>
        </dl>
        <footer>Version {{version}} · <a href="/.well-known/oauth-authorization-server">Discovery document</a></footer>
        """,
        "notice": """
        {{#notice}}<div class="note"><strong>Notice from {{host}}</strong>{{notice}}</div>{{/notice}}
        """,
        "enter": """
        <h1>{{title}}</h1>
        {{#alert}}<div class="note alert" role="alert" id="alert">{{alert}}</div>{{/alert}}
        {{> notice}}
        <p class="soft" id="hint">Claude Code shows a short code when you sign in. Enter it here; then you sign in with your organization's identity provider.</p>
        <form method="post" action="/device" autocomplete="off">
        <label for="user_code">Code</label>
        <input type="text" id="user_code" name="user_code" placeholder="XXXX-XXXX" maxlength="9" autocapitalize="characters" autocorrect="off" spellcheck="false" aria-describedby="hint" required autofocus>
        <button type="submit">Continue</button>
        </form>
        """,
        "confirm": """
        <h1>{{title}}</h1>
        {{> notice}}
        <p>A device asks for access to Claude Code as you. Continue only if it shows this very code:</p>
        <p class="code">{{code}}</p>
        <form method="post" action="/device">
        <input type="hidden" name="user_code" value="{{code}}">
        <button type="submit">This matches my device, continue</button>
        <button type="submit" class="deny" formaction="/device/deny">Deny</button>
        </form>
        <p class="soft">If you did not start this sign-in, or somebody sent you this link, choose Deny.</p>
        """,
        "pick": """
        <h1>{{title}}</h1>
        <p class="note"><strong>Development mode</strong>This stands in for your identity provider. Nobody is asked for a password.</p>
        <nav aria-label="Users">
        {{#users}}<a class="person" href="{{href}}"><b>{{name}}</b><span class="soft">{{about}}</span></a>
        {{/users}}</nav>
        """,
        "result": """
        <div class="mark{{#bad}} bad{{/bad}}" aria-hidden="true">{{#bad}}!{{/bad}}{{^bad}}✓{{/bad}}</div>
        <h1>{{title}}</h1>
        {{#paragraphs}}<p>{{.}}</p>
        {{/paragraphs}}{{#detail}}<div class="note alert">{{detail}}</div>{{/detail}}
        """,
    ]
}
