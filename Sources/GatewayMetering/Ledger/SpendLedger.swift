// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// Books metered answers: all that have ended while the last ones were being written go in one transaction, so that the
/// database sees a bounded number of writes whatever the load. While it does not answer, answers go to the journal on
/// this machine's disk and are booked once it does.
package final class SpendLedger: Sendable {
    /// How long answers are gathered before a write that follows a pause.
    private static let window = Duration.milliseconds(3)
    /// Writes do not begin more often than this, whatever the load.
    private static let pace = Duration.milliseconds(40)
    /// Answers that are one entry at most.
    private static let mergeLimit = 1000
    /// A write that takes longer is taken for an outage: what it holds is put on the disk meanwhile.
    private static let patience = Duration.milliseconds(400)
    private static let batchSize = 1000
    /// Answers that are kept in memory where there is no disk to put them on.
    private static let memoryLimit = 100_000
    private static let sightingInterval: Int64 = 30_000

    private struct State {
        var entries: [SpendEntry] = []
        /// Where in `entries` the last of a kind is.
        var places: [Int: Int] = [:]
        var sightings: [PrincipalSighting] = []
        var seen: [String: (principal: Principal, at: Timestamp)] = [:]
        /// Batches that are being written and are not on the disk.
        var inFlight: [Int: [SpendEntry]] = [:]
        var batches = 0
        var isWriting = false
        var isDown = false
        var isClosed = false
        /// Readings of the journal that run or are to follow; at most two.
        var recoveries = 0

        /// - Returns: Whether there was an entry that it could be merged into.
        mutating func merge(_ entry: SpendEntry) -> Bool {
            guard let kind = entry.kind, let place = self.places[kind] else { return false }
            return self.entries[place].merge(entry, ifLikeAndBelow: SpendLedger.mergeLimit)
        }

        @inline(never)
        mutating func append(_ entry: SpendEntry) {
            if let kind = entry.kind { self.places[kind] = self.entries.count }
            self.entries.append(entry)
            self.entries[self.entries.count - 1].id = TimeOrderedID.make()
        }
    }

    private let store: any SpendStore
    private let journal: SpendJournal?
    private let log: Logger
    private let exposure: SpendExposure
    private let guardian: SpendGuard
    private let holds: SpendHolds
    private let watch: SpendWatch
    private let state = Mutex(State())

    /// - Parameters:
    ///   - exposure: Told of every entry that has been booked.
    ///   - guardian: Told of the counters that a booking has changed.
    ///   - watch: Told of them as well.
    ///   - holds: Told of the reservations that a booking has ended.
    package init(
        store: any SpendStore, journal: SpendJournal?, exposure: SpendExposure, guardian: SpendGuard, holds: SpendHolds,
        watch: SpendWatch, log: Logger,
    ) {
        self.watch = watch
        self.holds = holds
        self.guardian = guardian
        self.store = store
        self.journal = journal
        self.exposure = exposure
        self.log = log
    }

    /// Takes an answer to be booked. Never waits.
    package func record(_ entry: SpendEntry) {
        self.add { if !$0.merge(entry) { $0.append(entry) } }
    }

    /// Notes who has made a request; equal sightings within half a minute are one.
    package func note(_ principal: Principal, now: Timestamp) {
        let isNew = self.state.withLock { state -> Bool in
            if let last = state.seen[principal.subject], last.principal == principal,
                now.milliseconds - last.at.milliseconds < Self.sightingInterval,
                now.seconds / 86400 == last.at.seconds / 86400
            {
                return false
            }
            if state.seen.count > 50_000 { state.seen.removeAll() }
            state.seen[principal.subject] = (principal, now)
            return true
        }
        if isNew { self.add { $0.sightings.append(PrincipalSighting(principal, at: now)) } }
    }

    private func add(_ change: (inout State) -> Void) {
        let mustStart = self.state.withLock { state -> Bool in
            change(&state)
            if state.isWriting { return false }
            state.isWriting = true
            return true
        }
        if mustStart { Task { await self.write() } }
    }

    // MARK: Writing

    private func write() async {
        var next = ContinuousClock.now
        while true {
            let now = ContinuousClock.now
            let begin = max(next, now + Self.window)
            try? await Task.sleep(until: begin, tolerance: .zero, clock: .continuous)
            next = begin + Self.pace
            let (entries, sightings, isDown) = self.state.withLock { state in
                let entries = Array(state.entries.prefix(Self.batchSize))
                state.entries.removeFirst(entries.count)
                state.places.removeAll(keepingCapacity: true)
                let sightings = Array(state.sightings.prefix(Self.batchSize))
                state.sightings.removeFirst(sightings.count)
                return (entries, sightings, state.isDown)
            }
            if entries.isEmpty, sightings.isEmpty {
                let isDone = self.state.withLock { state -> Bool in
                    guard state.entries.isEmpty, state.sightings.isEmpty else { return false }
                    state.isWriting = false
                    return true
                }
                if isDone { return }
                continue
            }
            if isDown {
                // Identities come again with the next request; amounts do not.
                self.keep(entries)
                try? await Task.sleep(for: .milliseconds(20))
            } else {
                await self.book(entries, sightings)
            }
        }
    }

    /// Writes a batch, and waits for the end of that no longer than an outage takes to be one.
    private func book(_ entries: [SpendEntry], _ sightings: [PrincipalSighting]) async {
        let number = self.state.withLock { state -> Int in
            state.batches += 1
            state.inFlight[state.batches] = entries
            return state.batches
        }
        try? await Bounded.run(within: Self.patience) { await self.attempt(number, entries, sightings) }
        // Being on the disk as well does no harm: an entry is booked once.
        guard let late = self.state.withLock({ $0.inFlight[number] }) else { return }
        self.fallDown("the store takes more than \(Self.patience) for a write")
        guard self.keep(late, alsoBooked: true) else { return }
        self.state.withLock { $0.inFlight[number] = nil }
    }

    private func attempt(_ number: Int, _ entries: [SpendEntry], _ sightings: [PrincipalSighting]) async {
        var failure: (any Error)?
        do {
            try await self.put(entries, sightings, renewing: self.guardian.renewal(of: entries))
        } catch {
            failure = error
        }
        let isOnDisk = self.state.withLock { $0.inFlight.removeValue(forKey: number) == nil }
        switch failure {
        case nil: break
        case StoreError.refused? where entries.count + sightings.count > 1:
            await self.bookSingly(entries, sightings)
        case let error?: self.fail(entries, error, isOnDisk: isOnDisk)
        }
    }

    /// Writes to the store, and tells everybody whom that concerns.
    private func put(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting] = [], renewing renewal: SpendGuard.Renewal? = nil,
        mayRepeat: Bool = false,
    ) async throws {
        let booking = try await self.store.book(
            entries, sightings, asking: renewal?.question, mayRepeat: mayRepeat, now: .now)
        self.guardian.learn(booking.totals)
        self.watch.note(booking.totals)
        if let renewal, let state = booking.state { self.guardian.renew(renewal, state) }
        self.exposure.booked(entries)
        let settled = entries.compactMap(\.hold)
        if !settled.isEmpty { self.holds.settled(settled) }
    }

    /// The store has refused some row of many: the others must not suffer.
    private func bookSingly(_ entries: [SpendEntry], _ sightings: [PrincipalSighting]) async {
        for sighting in sightings {
            do {
                try await self.put([], [sighting])
            } catch {
                self.log.warning("a developer's identity could not be noted", metadata: ["reason": "\(error)"])
            }
        }
        for entry in entries {
            do {
                try await self.put([entry])
            } catch {
                self.fail([entry], error)
            }
        }
    }

    private func fail(_ entries: [SpendEntry], _ error: any Error, isOnDisk: Bool = false) {
        if Self.isFinal(error) {
            for entry in entries { self.noteLoss(entry, "the store refused to book it: \(error)") }
            self.exposure.booked(entries)
            return
        }
        self.fallDown("\(error)")
        if isOnDisk {
            self.exposure.booked(entries)
        } else {
            self.keep(entries)
        }
    }

    /// Whether the store will refuse it the next time too: not for serialisation failures, deadlocks, cancelled
    /// statements, lack of resources and read-only standbys.
    private static func isFinal(_ error: any Error) -> Bool {
        guard case .refused(let sqlState, _)? = error as? StoreError else { return false }
        return !["40", "53", "55", "57", "25", "58"].contains { sqlState.hasPrefix($0) }
    }

    // MARK: Outages

    /// - Parameter alsoBooked: Whether a write of them is under way, which then still is to tell how it ended.
    /// - Returns: Whether the disk has them.
    @discardableResult
    private func keep(_ entries: [SpendEntry], alsoBooked: Bool = false) -> Bool {
        guard !entries.isEmpty else { return true }
        do throws(SpendJournal.Failure) {
            guard let journal else { throw .io("there is no folder for a journal", 2) }
            try journal.append(entries)
            if !alsoBooked { self.exposure.booked(entries) }
            // The store may have come back since this was decided: nobody would look at the journal again.
            if !self.state.withLock({ $0.isDown || $0.isClosed }) { Task { await self.recover() } }
            return true
        } catch {
            guard !alsoBooked else { return false }
            let lost = self.state.withLock { state -> [SpendEntry] in
                // Kept at the front: they are the oldest.
                let room = max(0, Self.memoryLimit - state.entries.count)
                state.entries.insert(contentsOf: entries.prefix(room), at: 0)
                state.places.removeAll()
                return Array(entries.dropFirst(room))
            }
            for entry in lost {
                self.noteLoss(entry, "the store is away, the journal cannot be written and memory is full: \(error)")
            }
            self.exposure.booked(lost)
            return false
        }
    }

    private func fallDown(_ reason: String) {
        let isNew = self.state.withLock { state -> Bool in
            if state.isDown { return false }
            state.isDown = true
            return true
        }
        guard isNew else { return }
        self.log.warning(
            "spend cannot be booked; it is kept on this machine until the store answers",
            metadata: ["reason": "\(reason)"])
        Task { await self.recover() }
    }

    /// Tries until the journal is booked. One at a time: two readers of one file would be in each other's way.
    private func recover() async {
        let isFirst = self.state.withLock { state -> Bool in
            defer { state.recoveries = min(2, state.recoveries + 1) }
            return state.recoveries == 0
        }
        guard isFirst else { return }
        while true {
            try? await Task.sleep(for: .milliseconds(500))
            if self.state.withLock({ $0.isClosed }) { return }
            guard let count = try? await self.replay() else { continue }
            let (wasDown, isDone) = self.state.withLock { state -> (Bool, Bool) in
                defer { state.isDown = false }
                state.recoveries -= 1
                return (state.isDown, state.recoveries == 0)
            }
            if wasDown {
                self.log.info("the store answers again; spend is booked", metadata: ["answers": "\(count)"])
            }
            // Something was put on the disk since the last look.
            if isDone { return }
        }
    }

    /// Books what the journal holds, this process's own and what killed ones have left.
    package func replay() async throws -> Int {
        _ = try await self.store.spendState(principals: [], groups: [], now: .now)
        guard let journal else { return 0 }
        return try await journal.replay { entries in
            do {
                try await self.put(entries, mayRepeat: true)
            } catch  where Self.isFinal(error) {
                // One of them; the others must not suffer, nor must the journal stay for ever.
                for entry in entries {
                    do {
                        try await self.put([entry], mayRepeat: true)
                    } catch  where Self.isFinal(error) {
                        self.noteLoss(entry, "the store refused to book it: \(error)")
                    }
                }
            }
        }
    }

    private func noteLoss(_ entry: SpendEntry, _ reason: String) {
        // No booking will end its reservation.
        if let hold = entry.hold { self.holds.release(hold) }
        self.log.error(
            "spend is lost to the limits",
            metadata: [
                "request_ids": "\(entry.requestIDs.joined(separator: " "))", "sub": "\(entry.principal)",
                "cents": "\(entry.amount.cents())", "reason": "\(reason)",
            ])
    }

    // MARK: The end

    /// Waits until everything handed in so far is booked or on the disk.
    package func flush(within limit: Duration) async {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            let isIdle = self.state.withLock { !$0.isWriting && $0.entries.isEmpty && $0.inFlight.isEmpty }
            if isIdle { return }
            try? await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Books or keeps everything, and stops trying to.
    package func close(within limit: Duration) async {
        await self.flush(within: limit)
        let (left, unsure) = self.state.withLock { state in
            state.isClosed = true
            let (left, unsure) = (state.entries, state.inFlight.values.flatMap { $0 })
            state.entries = []
            state.places.removeAll()
            state.inFlight = [:]
            return (left, unsure)
        }
        self.keep(left)
        self.keep(unsure, alsoBooked: true)
        let lost = self.state.withLock { $0.entries }
        for entry in lost { self.noteLoss(entry, "neither the store nor the journal can be written") }
    }
}
