// SPDX-License-Identifier: Apache-2.0

internal import CLibCurl
internal import CLibSSL
internal import Foundation
internal import GatewayCore

/// One exchange: its curl handle and what has arrived so far.
///
/// `@unchecked` because everything but the initialiser's constants is touched only by the engine's thread, from
/// `prepare` on; `continuation` is set before the transfer is handed to that thread.
final class CurlTransfer: @unchecked Sendable {
    private let request: OutboundRequest
    private let host: String
    private let rule: AddressRule
    private let onBody: (@Sendable ([UInt8]) -> Void)?
    var continuation: CheckedContinuation<OutboundResponse, any Error>?

    private var handle: UnsafeMutableRawPointer?
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectTo: UnsafeMutablePointer<curl_slist>?
    private var additionalCertificates: UnsafeMutableBufferPointer<CChar>?
    private let pin = UnsafeMutablePointer<gateway_leaf_pin>.allocate(capacity: 1)
    private var requestBody: UnsafeMutableBufferPointer<UInt8>?
    private var headers: [(name: String, value: String)] = []
    private var body: [UInt8] = []
    private var refusal: String?
    private var isTooLarge = false

    init(
        _ request: OutboundRequest, host: String, rule: AddressRule, onBody: (@Sendable ([UInt8]) -> Void)?,
    ) {
        self.request = request
        self.host = host
        self.rule = rule
        self.onBody = onBody
        self.pin.initialize(to: gateway_leaf_pin())
    }

    deinit {
        self.additionalCertificates?.deallocate()
        self.pin.deallocate()
        self.requestBody?.deallocate()
    }

    /// Makes the curl handle. `Unmanaged` references stay valid because the engine keeps the transfer until it is done.
    func prepare() -> UnsafeMutableRawPointer {
        let handle = curl_easy_init()!
        self.handle = handle
        let context = Unmanaged.passUnretained(self).toOpaque()
        func set(_ option: CURLoption, _ value: Int) { gateway_curl_set_long(handle, option, value) }
        func set(_ option: CURLoption, _ value: String) { gateway_curl_set_string(handle, option, value) }

        set(CURLOPT_URL, self.request.url)
        set(CURLOPT_CUSTOMREQUEST, self.request.method)
        set(CURLOPT_NOSIGNAL, 1)
        // A transfer that ends while its name is being resolved must not wait for the resolver: the engine has one thread.
        set(CURLOPT_QUICK_EXIT, 1)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
        if self.request.method == "HEAD" { set(CURLOPT_NOBODY, 1) }
        if let timeout = self.request.timeout { set(CURLOPT_TIMEOUT_MS, timeout.wholeMilliseconds) }
        set(CURLOPT_CONNECTTIMEOUT_MS, self.request.connectTimeout.wholeMilliseconds)
        switch self.request.proxying {
        case .direct: set(CURLOPT_PROXY, "")
        case .environment: break
        case .through(let proxy):
            set(CURLOPT_PROXY, proxy.url)
            set(CURLOPT_NOPROXY, "")
            if let credential = proxy.credential { set(CURLOPT_PROXYUSERPWD, credential.reveal()) }
        }
        if let address = self.request.pinnedAddress, let url = WebURL(self.request.url) {
            let (host, address) = (WebURL.bracketed(url.host), WebURL.bracketed(address.description))
            self.connectTo = curl_slist_append(nil, "\(host):\(url.port):\(address):\(url.port)")
            gateway_curl_set_list(handle, CURLOPT_CONNECT_TO, self.connectTo)
        }
        if let body = self.request.body {
            let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, body.count))
            _ = copy.initialize(from: body)
            self.requestBody = copy
            set(CURLOPT_POSTFIELDSIZE, body.count)
            gateway_curl_set_pointer(handle, CURLOPT_POSTFIELDS, copy.baseAddress)
        }
        // No "Expect: 100-continue" round trip.
        self.headerList = curl_slist_append(self.headerList, "Expect:")
        for header in self.request.headers {
            let line = header.value.isEmpty ? "\(header.name);" : "\(header.name): \(header.value)"
            self.headerList = curl_slist_append(self.headerList, line)
        }
        gateway_curl_set_list(handle, CURLOPT_HTTPHEADER, self.headerList)
        if let pem = self.request.trustedCertificates {
            var bytes = Array(pem.utf8)
            gateway_curl_set_ca_blob(handle, &bytes, bytes.count)
        }
        if !self.request.verifiesCertificate {
            set(CURLOPT_SSL_VERIFYPEER, 0)
            set(CURLOPT_SSL_VERIFYHOST, 0)
        }
        if let expected = self.request.expectedFingerprint.flatMap(Hexadecimal.decode), expected.count == 32 {
            withUnsafeMutableBytes(of: &self.pin.pointee.expected) { $0.copyBytes(from: expected) }
            self.pin.pointee.has_expected = 1
        }
        if let pem = self.request.additionalCertificates {
            let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: pem.utf8.count)
            _ = copy.initialize(from: pem.utf8.map { CChar(bitPattern: $0) })
            self.additionalCertificates = copy
            self.pin.pointee.additional = UnsafePointer(copy.baseAddress)
            self.pin.pointee.additional_length = Int32(copy.count)
        }
        // A resumed session or a connection that another request opened shows no certificate and has passed no rule of
        // this request's. Only the gateway's own traffic, all under one rule, keeps connections.
        set(CURLOPT_SSL_SESSIONID_CACHE, 0)
        if !self.mayShareConnections {
            set(CURLOPT_FRESH_CONNECT, 1)
            set(CURLOPT_FORBID_REUSE, 1)
        }
        // It looks at certificates by itself.
        if self.request.verifiesCertificate { gateway_curl_set_ssl_callback(handle, gateway_leaf_pin_install) }
        gateway_curl_set_pointer(handle, CURLOPT_SSL_CTX_DATA, self.pin)
        gateway_curl_set_data_callback(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
            Unmanaged<CurlTransfer>.fromOpaque(context!).takeUnretainedValue().received(data!, size * count)
        }
        gateway_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        gateway_curl_set_data_callback(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
            Unmanaged<CurlTransfer>.fromOpaque(context!).takeUnretainedValue().receivedHeader(data!, size * count)
        }
        gateway_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        // Asked for each socket with the resolved address that is about to be connected to, so what is checked is what
        // is used, whatever DNS answers next time.
        gateway_curl_set_socket_callback(handle) { context, _, address in
            Unmanaged<CurlTransfer>.fromOpaque(context!).takeUnretainedValue().openSocket(address!)
        }
        gateway_curl_set_pointer(handle, CURLOPT_OPENSOCKETDATA, context)
        return handle
    }

    private var mayShareConnections: Bool {
        guard case .guarded = self.rule else { return false }
        return self.request.expectedFingerprint == nil && self.request.trustedCertificates == nil
            && self.request.pinnedAddress == nil
            && self.request.additionalCertificates == nil
    }

    private func openSocket(_ address: UnsafeMutablePointer<curl_sockaddr>) -> curl_socket_t {
        let reachesHost = self.request.proxying == .direct
        let family = address.pointee.family
        let resolved = withUnsafePointer(to: &address.pointee.addr) { IPAddress(socketAddress: $0) }
        if reachesHost {
            guard let resolved else { return CURL_SOCKET_BAD }
            if let refusal = self.rule.refusal(of: resolved) {
                self.refusal = refusal
                return CURL_SOCKET_BAD
            }
        }
        return socket(family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.`protocol`)
    }

    private func receivedHeader(_ data: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: data, count: count), as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            self.headers = []
        } else if let colon = line.firstIndex(of: ":") {
            self.headers.append((line[..<colon].lowercased(), String(line[line.index(after: colon)...]).trimmingSpaces))
        }
        return count
    }

    private func received(_ data: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        let bytes = UnsafeRawBufferPointer(start: data, count: count)
        if let onBody, self.status < 400 {
            onBody(Array(bytes))
            return count
        }
        guard self.body.count + count <= self.request.maximumResponseBytes else {
            self.isTooLarge = true
            return 0
        }
        self.body.append(contentsOf: bytes)
        return count
    }

    private var status: Int {
        var status = 0
        if let handle { gateway_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status) }
        return status
    }

    func result(of code: CURLcode) -> Result<OutboundResponse, any Error> {
        if code == CURLE_OK {
            let response = OutboundResponse(
                status: self.status, headers: self.headers, body: self.body, peerFingerprint: self.seenFingerprint)
            return .success(response)
        }
        return .failure(self.error(of: code))
    }

    private func error(of code: CURLcode) -> OutboundError {
        if self.isTooLarge { return .tooLarge(host: self.host, limit: self.request.maximumResponseBytes) }
        if let refusal { return .blocked(host: self.host, reason: refusal) }
        if self.pin.pointee.mismatch != 0 {
            return .changedCertificate(host: self.host, seen: self.seenFingerprint ?? "unknown")
        }
        let reason = String(cString: curl_easy_strerror(code)).lowercased()
        switch code {
        case CURLE_OPERATION_TIMEDOUT: return .timedOut(host: self.host)
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY:
            return .cannotConnect(host: self.host, reason: reason)
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
            return .untrustedCertificate(host: self.host, reason: reason)
        default: return .broken(host: self.host, reason: reason)
        }
    }

    private var seenFingerprint: String? {
        guard self.pin.pointee.has_seen != 0 else { return nil }
        return withUnsafeBytes(of: self.pin.pointee.seen) { Hexadecimal.encode($0) }
    }

    func finish(_ result: Result<OutboundResponse, any Error>) {
        if let handle { curl_easy_cleanup(handle) }
        curl_slist_free_all(self.headerList)
        curl_slist_free_all(self.connectTo)
        self.connectTo = nil
        self.handle = nil
        self.headerList = nil
        self.continuation?.resume(with: result)
        self.continuation = nil
    }
}

extension Duration {
    /// At least one millisecond, since zero means "no limit" to libcurl.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = self.components
        return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}
