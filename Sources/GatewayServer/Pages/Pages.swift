// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import Mustache
internal import NIOCore
internal import NIOHTTP1

/// The pages that people see while they sign in. None has a script, none submits itself, none loads anything.
struct Pages: Sendable {
    private let library: MustacheLibrary
    /// The host that people know the gateway by.
    private let host: String
    private let formAction: String
    private let notice: String?

    /// - Parameters:
    ///   - formOrigins: Where the device form may lead, besides this gateway: the identity provider.
    init(publicURL: String, formOrigins: [String], notice: String?) {
        var templates: [String: MustacheTemplate] = [:]
        for (name, text) in PageTemplates.all {
            guard let template = try? MustacheTemplate(string: text) else {
                preconditionFailure("the page template \(name) is well-formed")
            }
            templates[name] = template
        }
        self.library = MustacheLibrary(templates: templates)
        self.host = WebURL(publicURL)?.authority ?? publicURL
        self.formAction = (["'self'"] + formOrigins).joined(separator: " ")
        self.notice = notice
    }

    /// A result page's tone.
    enum Mark: Sendable {
        case good
        case bad
    }

    func landing(publicURL: String, issuerHost: String) -> PlainResponse {
        self.page(
            "landing", title: "Claude gateway",
            ["url": publicURL, "issuer": issuerHost, "version": GatewayVersion.current], formAction: "'none'",
            isPrivate: false)
    }

    func enterCode(alert: String? = nil, status: HTTPResponseStatus = .ok) -> PlainResponse {
        var response = self.page(
            "enter", title: "Enter the code from your device", ["alert": alert, "notice": self.notice],
            formAction: self.formAction)
        response.status = status
        return response
    }

    func confirm(code: String) -> PlainResponse {
        self.page(
            "confirm", title: "Approve sign-in?", ["code": String(code.prefix(64)), "notice": self.notice],
            formAction: self.formAction)
    }

    /// The end of a sign-in, good or bad.
    func result(_ mark: Mark, title: String, _ paragraphs: [String], detail: String? = nil) -> PlainResponse {
        self.page(
            "result", title: title,
            ["bad": mark == .bad, "paragraphs": paragraphs, "detail": detail], formAction: "'self'")
    }

    /// The built-in identity provider's page: each user is a link, since a form's target would have to be allowed.
    func pickUser(_ users: [[String: String]]) -> PlainResponse {
        self.page("pick", title: "Who are you today?", ["users": users], formAction: "'none'")
    }

    private func page(
        _ template: String, title: String, _ values: [String: Any?], formAction: String, isPrivate: Bool = true,
    ) -> PlainResponse {
        var values = values.compactMapValues { $0 }
        values["title"] = title
        values["host"] = self.host
        let body = self.library.render(values, withTemplate: template) ?? ""
        let html =
            self.library.render(
                ["title": title, "host": self.host, "style": PageStyle.text, "body": body], withTemplate: "frame") ?? ""
        let policy = [
            "default-src 'none'", "style-src \(PageStyle.source)", "frame-ancestors 'none'",
            "form-action \(formAction)", "base-uri 'none'",
        ].joined(separator: "; ")
        var headers: HTTPHeaders = [
            "content-type": "text/html; charset=utf-8", "cache-control": "no-store", "content-security-policy": policy,
        ]
        if isPrivate { headers.add(name: "pragma", value: "no-cache") }
        return PlainResponse(status: .ok, headers: headers, body: .bytes(ByteBuffer(string: html)))
    }
}
