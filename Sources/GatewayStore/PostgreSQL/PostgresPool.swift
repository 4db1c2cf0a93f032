// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import Synchronization

/// A fixed number of threads, each with a connection of its own, that take jobs from one queue.
///
/// A job waits at most `waitLimit` for a thread and then fails with `StoreError.busy`. A broken connection is replaced
/// by the next job; while the server refuses, jobs fail at once instead of each waiting for its own refusal.
///
/// `@unchecked`: all mutable state is guarded by `condition`.
final class PostgresPool: @unchecked Sendable {
    typealias Job = (PostgresConnection) throws -> Void

    private struct Pending {
        let run: (Result<PostgresConnection, StoreError>) -> Void
        let deadline: ContinuousClock.Instant
    }

    /// How long a refusal to connect is taken as the answer for other jobs too.
    private static let refusalMemory = Duration.milliseconds(200)

    private let connect: @Sendable () throws(StoreError) -> PostgresConnection
    private let waitLimit: Duration
    private let onOutage: @Sendable (String?) -> Void
    private let condition = NSCondition()
    private var queue: [Pending] = []
    private var isClosed = false
    private var lastRefusal: (at: ContinuousClock.Instant, error: StoreError)?
    private var isDown = false
    private var busy = 0
    private let connections: Int

    /// - Parameter onOutage: Called with the reason when the server stops answering and with `nil` when it answers
    ///   again; once each, however many jobs fail in between.
    init(
        connections: Int, waitLimit: Duration, onOutage: @escaping @Sendable (String?) -> Void,
        connect: @escaping @Sendable () throws(StoreError) -> PostgresConnection,
    ) {
        self.connect = connect
        self.connections = max(1, connections)
        self.waitLimit = waitLimit
        self.onOutage = onOutage
        for index in 0..<max(1, connections) {
            let thread = Thread { [weak self] in Self.work(self) }
            thread.name = "postgres-\(index)"
            thread.stackSize = 256 << 10
            thread.start()
        }
        let watch = Thread { [weak self] in
            while let pool = self, pool.expireWaiting() { Thread.sleep(forTimeInterval: 0.1) }
        }
        watch.name = "postgres-watch"
        watch.stackSize = 128 << 10
        watch.start()
    }

    /// Runs `body` with a connection on one of the pool's threads.
    func withConnection<Value: Sendable>(
        _ body: @escaping @Sendable (PostgresConnection) throws -> Value,
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let pending = Pending(
                run: { connection in
                    switch connection {
                    case .failure(let error): continuation.resume(throwing: error)
                    case .success(let connection): continuation.resume(with: Result { try body(connection) })
                    }
                },
                deadline: .now + self.waitLimit)
            self.condition.lock()
            if self.isClosed {
                self.condition.unlock()
                pending.run(.failure(.unavailable("the store is closed")))
            } else {
                self.queue.append(pending)
                self.condition.signal()
                self.condition.unlock()
            }
        }
    }

    var load: StoreLoad {
        self.condition.lock()
        defer { self.condition.unlock() }
        return StoreLoad(
            connections: self.connections, busy: self.busy, waiting: self.queue.count, isDown: self.isDown)
    }

    func close() {
        self.condition.lock()
        self.isClosed = true
        let left = self.queue
        self.queue = []
        self.condition.broadcast()
        self.condition.unlock()
        for pending in left { pending.run(.failure(.unavailable("the store is closed"))) }
    }

    /// False once the pool is closed.
    private func expireWaiting() -> Bool {
        self.condition.lock()
        let now = ContinuousClock.now
        let expired = self.queue.filter { $0.deadline <= now }
        if !expired.isEmpty { self.queue.removeAll { $0.deadline <= now } }
        let goesOn = !self.isClosed
        self.condition.unlock()
        for pending in expired { pending.run(.failure(.busy)) }
        return goesOn
    }

    private static func work(_ pool: PostgresPool?) {
        guard let pool else { return }
        var connection: PostgresConnection?
        while let job = pool.take() {
            defer { pool.finished() }
            if connection?.isAlive == false { connection = nil }
            if connection == nil {
                do throws(StoreError) {
                    connection = try pool.reconnect()
                } catch {
                    job.run(.failure(error))
                    continue
                }
            }
            job.run(.success(connection!))
            // A statement may have left the connection broken or in the middle of an answer.
            if !connection!.isReusable { connection = nil }
        }
    }

    private func take() -> Pending? {
        self.condition.lock()
        defer { self.condition.unlock() }
        while self.queue.isEmpty, !self.isClosed { self.condition.wait() }
        if self.isClosed { return nil }
        self.busy += 1
        return self.queue.removeFirst()
    }

    private func finished() {
        self.condition.lock()
        self.busy -= 1
        self.condition.unlock()
    }

    private func reconnect() throws(StoreError) -> PostgresConnection {
        self.condition.lock()
        let refusal = self.lastRefusal
        self.condition.unlock()
        if let refusal, refusal.at.duration(to: .now) < Self.refusalMemory { throw refusal.error }
        do throws(StoreError) {
            let connection = try self.connect()
            self.note(nil)
            return connection
        } catch {
            self.note(error)
            throw error
        }
    }

    private func note(_ error: StoreError?) {
        self.condition.lock()
        self.lastRefusal = error.map { (.now, $0) }
        let changed = self.isDown != (error != nil)
        self.isDown = error != nil
        self.condition.unlock()
        if changed { self.onOutage(error?.description) }
    }
}
