// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import NIOCore
internal import Synchronization

/// Everything that belongs to one event loop and is reached without locks: the current generation, the date, and the
/// connections that are open.
final class RelayLoop {
    let loop: PollLoop
    let services: RelayServices
    private(set) var current: RelayGeneration
    private var connections: [ObjectIdentifier: ServerConnection] = [:]
    private var multiplexed: [ObjectIdentifier: any Channel] = [:]
    private(set) var isDraining = false
    /// Shared by all loops: a probe reaches any of them.
    let departure: Departure
    private var date = (second: Int64(0), text: "")
    /// The time, to the microseconds that an event takes.
    var eventTime: NIODeadline { self.loop.eventTime }
    /// The time of the last look at all connections: as exact as their time limits need it.
    private(set) var now = NIODeadline.now()
    private var clock: RepeatedTask?
    /// Takes audit events until the end of a turn.
    private var gathering: (any AuditGathering)?
    /// Takes metered answers as long.
    let spending = SpendGathering()

    init(loop: PollLoop, services: RelayServices, serving: RelayServing, departure: Departure) {
        self.departure = departure
        self.loop = loop
        self.services = services.copy()
        self.current = RelayGeneration(serving, loop: loop)
        self.gathering = services.gathering()
        if let gathering { loop.gatherings.append(gathering) }
        loop.gatherings.append(self.spending)
        self.startClock()
    }

    /// Records an event before the turn's answers leave: whoever has one that is not long finds its lines.
    func record(_ event: AuditEvent) {
        if let gathering { gathering.record(event) } else { self.services.record(event) }
    }

    /// One timer looks after all connections, so that a request costs none.
    private func startClock() {
        let interval = self.current.configuration.edge.timeouts.interval
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.clock = self.loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let shared = bound.value
            shared.now = .now()
            for connection in Array(shared.connections.values) { connection.checkProgress() }
        }
    }

    /// Takes over another configuration for the requests that begin from now on.
    func replace(_ serving: RelayServing) {
        let old = self.current
        self.current = RelayGeneration(serving, loop: self.loop)
        old.retire()
    }

    /// The current time as an HTTP date (RFC 9110 §5.6.7), made once a second.
    var httpDate: String {
        let second = Timestamp.now.seconds
        if second != self.date.second { self.date = (second, HTTPDate.text(second: second)) }
        return self.date.text
    }

    // MARK: Connections

    func opened(_ connection: ServerConnection) {
        self.connections[ObjectIdentifier(connection)] = connection
    }

    func closed(_ connection: ServerConnection) {
        self.connections[ObjectIdentifier(connection)] = nil
    }

    /// A connection that carries many requests: its streams are connections to this loop, and it ends after them.
    func openedMultiplexed(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        self.multiplexed[id] = channel
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        channel.closeFuture.whenComplete { _ in bound.value.multiplexed[id] = nil }
        if self.isDraining { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    /// Requests that are being answered, to the last byte.
    var openRequests: Int {
        self.connections.values.count { $0.isBusy }
    }

    /// Closes what is idle and lets what is busy end after its answer.
    func drain() {
        self.isDraining = true
        // Tells clients of HTTP/2 to send nothing more here (GOAWAY).
        for channel in Array(self.multiplexed.values) {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        for connection in Array(self.connections.values) { connection.drain() }
    }

    func cut() {
        for connection in Array(self.connections.values) { connection.cut() }
        for channel in Array(self.multiplexed.values) { channel.close(promise: nil) }
        self.current.retire()
        self.clock?.cancel()
        self.gathering?.flush()
        self.spending.close()
        self.loop.gatherings.removeAll { $0 === self.gathering || $0 === self.spending }
        self.gathering = nil
    }
}

/// Whether a load balancer has heard from `/readyz` that this process is going.
final class Departure: Sendable {
    private let told = Atomic(false)

    var isKnown: Bool { self.told.load(ordering: .relaxed) }

    func tell() {
        self.told.store(true, ordering: .relaxed)
    }
}
