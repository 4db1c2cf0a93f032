// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// A device's request for access (RFC 8628), from the code it shows to the token it gets.
package struct DeviceGrant: Sendable, Equatable {
    package enum State: Sendable, Equatable {
        case pending
        /// Somebody stopped it, or the sign-in failed.
        case denied
        /// Signed in. The text is the sealed identity that the next poll turns into tokens.
        case approved(String)
    }

    package static let lifetime = Duration.seconds(600)
    package static let interval = 5
    /// Polls closer together than this are told to slow down: the interval less one second for the network's jitter.
    package static let minimumPollGap = 4.0

    package let userCode: String
    /// The address that asked for the code, and when.
    package let requestedFrom: String
    package let requestedAt: Timestamp
    package var lastPoll: Timestamp?
    package var state = State.pending

    package init(userCode: String, requestedFrom: String, requestedAt: Timestamp) {
        self.userCode = userCode
        self.requestedFrom = requestedFrom
        self.requestedAt = requestedAt
    }

    package var expiresAt: Timestamp {
        self.requestedAt.advanced(bySeconds: Double(Self.lifetime.components.seconds))
    }

    /// What a poll is answered with.
    package enum PollAnswer: Sendable, Equatable {
        case pending
        case slowDown
        case denied
        case approved(String)
    }

    /// Judges a poll at `now`. A poll that is too early does not count, so the next one is measured from the last that
    /// did; a decided grant is answered at once.
    package mutating func poll(at now: Timestamp) -> PollAnswer {
        switch self.state {
        case .denied: return .denied
        case .approved(let identity): return .approved(identity)
        case .pending:
            if let lastPoll, Double(now.milliseconds - lastPoll.milliseconds) < Self.minimumPollGap * 1000 {
                return .slowDown
            }
            self.lastPoll = now
            return .pending
        }
    }
}

extension DeviceGrant {
    package var text: String {
        var object: JSONObject = [
            "user_code": .string(self.userCode), "from": .string(self.requestedFrom),
            "at": .integer(self.requestedAt.milliseconds),
        ]
        object["polled"] = self.lastPoll.map { .integer($0.milliseconds) }
        switch self.state {
        case .pending: object["state"] = "pending"
        case .denied: object["state"] = "denied"
        case .approved(let identity):
            object["state"] = "approved"
            object["identity"] = .string(identity)
        }
        return JSONValue.object(object).text()
    }

    package init?(text: String) {
        guard let json = try? JSONValue(parsing: text), let code = json["user_code"]?.string,
            let from = json["from"]?.string, let at = json["at"]?.integer
        else { return nil }
        self.init(userCode: code, requestedFrom: from, requestedAt: Timestamp(milliseconds: Int64(at)))
        self.lastPoll = json["polled"]?.integer.map { Timestamp(milliseconds: Int64($0)) }
        switch json["state"]?.string {
        case "denied": self.state = .denied
        case "approved": self.state = .approved(json["identity"]?.string ?? "")
        default: self.state = .pending
        }
    }
}

/// The codes of a device grant.
package enum DeviceCodes {
    /// Consonants that read and sound apart; no vowels, so that no words appear.
    private static let letters = Array("BCDFGHJKMNPQRSTVWXYZ")

    /// Eight letters with a hyphen in the middle: 20^8, about 2.6 × 10^10.
    package static func makeUserCode() -> String {
        var generator = SystemRandomNumberGenerator()
        let code = (0..<8).map { _ in letters.randomElement(using: &generator)! }
        return String(code[..<4]) + "-" + String(code[4...])
    }

    /// What a person typed, as a code: letters only, upper case, hyphenated. `nil` when that is no eight letters.
    package static func normalise(_ typed: String) -> String? {
        let kept = typed.uppercased().filter { ("A"..."Z").contains($0) && $0.isASCII }
        guard kept.count == 8, typed.utf8.count <= 64 else { return nil }
        return kept.prefix(4) + "-" + kept.suffix(4)
    }
}
