// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import GatewayCore

/// Orders upstreams by weight with rendezvous hashing: each gets a score from its name and the request's key, and comes
/// first as often as its weight says. The same key gives the same order on every replica, and taking an upstream away
/// moves only what it had.
package enum WeightedOrder {
    /// - Parameters:
    ///   - items: Names with weights; neighbours with a weight are ordered among each other, others keep their place.
    ///   - key: The session, or something random.
    /// - Returns: The items' indexes in the order to try them.
    package static func order(_ items: [(name: String, weight: Double?)], key: String) -> [Int] {
        var order: [Int] = []
        var index = 0
        while index < items.count {
            guard items[index].weight != nil else {
                order.append(index)
                index += 1
                continue
            }
            var end = index
            while end < items.count, items[end].weight != nil { end += 1 }
            let scores = (index..<end).map { (index: $0, score: self.score(items[$0].name, items[$0].weight!, key)) }
            order += scores.sorted { ($0.score, $0.index) < ($1.score, $1.index) }.map(\.index)
            index = end
        }
        return order
    }

    /// An exponentially distributed number with that rate: the smallest of several is one's own with the probability
    /// of one's share.
    private static func score(_ name: String, _ weight: Double, _ key: String) -> Double {
        let digest = Insecure.MD5.hash(data: Array("\(key)\u{0}\(name)".utf8))
        let number = digest.prefix(7).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // In (0, 1): 56 bits and a half.
        let uniform = (Double(number) + 0.5) / Double(1 << 56 as UInt64)
        return -Logarithm.natural(uniform) / weight
    }
}
