// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// What a route knows about its request besides the request itself.
struct RouteContext: RequestContext {
    struct Source: RequestContextSource {
        let logger: Logger
        let request: PlainRequest
        let caller: Caller?
        let answer: AnswerSlot
    }

    /// Carries a route's answer past the router, which has no use for it and would only convert it twice.
    final class AnswerSlot: Sendable {
        let value = Mutex<PlainResponse?>(nil)
    }

    var coreContext: CoreRequestContextStorage
    let request: PlainRequest
    /// The developer, on routes that need a bearer.
    let caller: Caller?
    fileprivate let answer: AnswerSlot

    init(source: Source) {
        self.coreContext = CoreRequestContextStorage(source: source)
        self.request = source.request
        self.caller = source.caller
        self.answer = source.answer
    }

    var requestID: GatewayCore.RequestID { self.request.requestID }
    var clientIP: JSONValue { .string(self.request.client.description) }
    /// The value of every audit event's `request_id`.
    var auditID: JSONValue { .string(self.request.requestID.description) }

    /// The fields of an urlencoded body, first values. A body of another type has none.
    var form: [String: String] {
        guard self.isForm else { return [:] }
        return FormCoding.firstValues(Array(self.request.body.readableBytesView))
    }

    var isForm: Bool {
        let type = self.request.headers.first(name: "content-type")?.lowercased() ?? ""
        return type.prefix { $0 != ";" }.trimmingCharacters == "application/x-www-form-urlencoded"
    }

    /// A cookie's value.
    func cookie(_ name: String) -> String? {
        Cookies.value(name, in: self.request.headers["cookie"])
    }
}

/// `Cookie` headers (RFC 6265 §4.2).
package enum Cookies {
    /// The value of the first cookie of that name.
    package static func value(_ name: String, in headers: [String]) -> String? {
        for header in headers {
            for pair in header.split(separator: ";") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                if parts.count == 2, parts[0].trimmingCharacters == name { return parts[1].trimmingCharacters }
            }
        }
        return nil
    }
}

extension Substring {
    fileprivate var trimmingCharacters: String { String(self).trimmingSpaces }
}

/// The routes outside the hot path: which paths exist, with which methods, and who may use them. A family of routes
/// mounts itself here; Hummingbird's router dispatches.
final class RouteTable {
    enum Access: Sendable {
        /// Anybody.
        case open
        /// Only with a valid bearer.
        case bearer
    }

    struct Entry: Sendable {
        var methods: [String]
        let access: Access
    }

    typealias Handler = @Sendable (RouteContext) async throws -> PlainResponse

    /// Families of paths that settle themselves who may use them.
    private(set) var families: [any RouteFamily] = []

    func add(_ family: any RouteFamily) {
        self.families.append(family)
    }

    private let router = Router(context: RouteContext.self)
    private var entries: [String: Entry] = [:]

    /// Adds a GET route, which answers HEAD too unless `answersHead` is false.
    func get(_ path: String, _ access: Access = .open, answersHead: Bool = true, _ handler: @escaping Handler) {
        self.on(.get, path, access, answersHead: answersHead, handler)
    }

    func post(_ path: String, _ access: Access = .open, _ handler: @escaping Handler) {
        self.on(.post, path, access, answersHead: false, handler)
    }

    private func on(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, answersHead: Bool, _ handler: @escaping Handler
    ) {
        var entry = self.entries[path] ?? Entry(methods: [], access: access)
        entry.methods.append(method.rawValue)
        if method == .get, answersHead { entry.methods.append("HEAD") }
        self.entries[path] = entry
        self.router.on(RouterPath(path), method: method) { _, context in
            let response = try await handler(context)
            context.answer.value.withLock { $0 = response }
            return Response(status: .ok)
        }
    }

    /// Declares a path that is answered before it reaches the router, so that its methods are known.
    func reserve(post path: String, _ access: Access) {
        self.entries[path] = Entry(methods: ["POST"], access: access)
    }

    func build() -> (entries: [String: Entry], responder: any HTTPResponder<RouteContext>) {
        (self.entries, self.router.buildResponder())
    }
}

/// All paths at and below one, with an authentication and error bodies of their own.
protocol RouteFamily: Sendable {
    var prefix: String { get }
    /// An answer that needs no body. Runs on the event loop; must not block.
    func refusal(of request: PlainRequest, caller: Caller?) -> PlainResponse?
    func answer(_ request: PlainRequest, caller: Caller?) async -> PlainResponse
}

extension RouteFamily {
    func has(_ path: String) -> Bool {
        path == self.prefix || path.hasPrefix(self.prefix + "/")
    }
}
