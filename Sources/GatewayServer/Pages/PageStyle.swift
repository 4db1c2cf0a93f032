// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
internal import GatewayCore

/// The one style sheet of the sign-in pages: a card in the middle, phone and desktop, light and dark, no fetched font.
enum PageStyle {
    static let text = """
        :root{color-scheme:light dark;--bg:#f5f4ef;--card:#fff;--ink:#1f1e1b;--soft:#5f5c54;--line:#dedbd0;--accent:#b3532f;\
        --accent-ink:#fff;--focus:#1f5fbf;--ok:#2c6e49;--bad:#a12622}
        @media (prefers-color-scheme:dark){:root{--bg:#1b1a18;--card:#262522;--ink:#f2f0e9;--soft:#b3afa4;--line:#403e38;\
        --accent:#e08a63;--accent-ink:#1b1a18;--focus:#8db8ff;--ok:#7fc79c;--bad:#f2938e}}
        *{box-sizing:border-box}
        body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.25rem;\
        background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
        main{width:100%;max-width:27rem;background:var(--card);border:1px solid var(--line);border-radius:.9rem;\
        padding:2rem 1.75rem;box-shadow:0 1px 2px rgb(0 0 0/.06),0 12px 32px rgb(0 0 0/.06)}
        .brand{margin:0 0 1.25rem;font-size:.8125rem;letter-spacing:.04em;color:var(--soft)}
        h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25;font-weight:650;text-wrap:balance}
        p{margin:0 0 1rem}
        .soft{color:var(--soft);font-size:.9375rem}
        .code{display:block;margin:1.25rem 0;padding:.85rem .5rem;border:1px solid var(--line);border-radius:.6rem;\
        background:var(--bg);text-align:center;font:600 1.75rem/1.2 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;\
        letter-spacing:.12em;overflow-wrap:anywhere}
        label{display:block;margin:0 0 .4rem;font-weight:600}
        input[type=text]{width:100%;margin:0 0 1rem;padding:.75rem .6rem;border:1px solid var(--soft);border-radius:.6rem;\
        background:var(--card);color:var(--ink);text-align:center;text-transform:uppercase;\
        font:600 1.5rem/1.2 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em}
        button{display:block;width:100%;margin:0 0 .75rem;padding:.8rem 1rem;border:1px solid transparent;border-radius:.6rem;\
        background:var(--accent);color:var(--accent-ink);font:inherit;font-weight:650;cursor:pointer}
        button:hover{filter:brightness(1.06)}
        button.deny{background:transparent;border-color:var(--line);color:var(--ink)}
        :focus-visible{outline:3px solid var(--focus);outline-offset:2px}
        .note{margin:0 0 1.25rem;padding:.75rem .9rem;border:1px solid var(--line);border-left:4px solid var(--accent);border-radius:.5rem}
        .note strong{display:block;font-size:.8125rem;color:var(--soft)}
        .alert{border-left-color:var(--bad)}
        .mark{display:inline-flex;width:2.75rem;height:2.75rem;margin:0 0 1rem;align-items:center;justify-content:center;\
        border-radius:50%;font-size:1.35rem;font-weight:700;color:var(--card);background:var(--ok)}
        .mark.bad{background:var(--bad)}
        dl{margin:0 0 1rem;font-size:.9375rem}
        dt{color:var(--soft)}
        dd{margin:0 0 .6rem;overflow-wrap:anywhere}
        .person{display:block;margin:0 0 .75rem;padding:.75rem 1rem;border:1px solid var(--line);border-radius:.6rem;color:inherit;text-decoration:none}
        .person b,.person span{display:block}
        .person:hover{border-color:var(--accent)}
        a{color:var(--accent)}
        footer{margin:1.5rem 0 0;padding:1rem 0 0;border-top:1px solid var(--line);color:var(--soft);font-size:.8125rem}
        code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.9em}
        @media (prefers-reduced-motion:no-preference){button{transition:filter .12s}}
        @media (max-width:26rem){main{padding:1.5rem 1.15rem}.code{font-size:1.4rem}}
        """

    /// The sheet's CSP source: pages allow this sheet and no other style.
    static let source = "'sha256-\(Base64.encode(Array(SHA256.hash(data: Data(text.utf8)))))'"
}
