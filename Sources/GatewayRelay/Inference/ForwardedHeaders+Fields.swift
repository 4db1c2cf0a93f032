// SPDX-License-Identifier: Apache-2.0

internal import GatewayProviders

extension ForwardedHeaders {
    /// The fields that some upstream may want to know of.
    static func among(_ fields: FieldSection) -> [(name: String, value: String)] {
        var found: [(name: String, value: String)] = []
        fields.visit { name, value in
            if case .withheld = self.disposition(of: name) { return }
            found.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        }
        return found
    }
}
