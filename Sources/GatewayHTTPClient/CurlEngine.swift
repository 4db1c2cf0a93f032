// SPDX-License-Identifier: Apache-2.0

internal import CLibCurl
internal import Foundation
internal import Synchronization

/// Runs every libcurl transfer of the process on one thread, which owns all curl handles.
///
/// `@unchecked` because `multi` is touched by that thread only, except for `curl_multi_wakeup`, which libcurl allows
/// from any thread; the hand-over queue is guarded by `inbox`.
final class CurlEngine: @unchecked Sendable {
    static let shared = CurlEngine()

    private struct Inbox {
        var started: [CurlTransfer] = []
        var cancelled: [ObjectIdentifier] = []
    }

    private let inbox = Mutex(Inbox())
    private let multi: OpaquePointer

    private init() {
        curl_global_init(Int(CURL_GLOBAL_ALL))
        self.multi = OpaquePointer(curl_multi_init()!)
        let thread = Thread { [self] in self.run() }
        thread.name = "outbound-http"
        thread.stackSize = 512 << 10
        thread.start()
    }

    func start(_ transfer: CurlTransfer) {
        self.inbox.withLock { $0.started.append(transfer) }
        curl_multi_wakeup(UnsafeMutableRawPointer(self.multi))
    }

    func cancel(_ transfer: CurlTransfer) {
        self.inbox.withLock { $0.cancelled.append(ObjectIdentifier(transfer)) }
        curl_multi_wakeup(UnsafeMutableRawPointer(self.multi))
    }

    private func run() -> Never {
        let multi = UnsafeMutableRawPointer(self.multi)
        var active: [UnsafeMutableRawPointer: CurlTransfer] = [:]
        // A cancellation can overtake the start it belongs to.
        var cancelledEarly: Set<ObjectIdentifier> = []
        while true {
            let inbox = self.inbox.withLock { inbox in
                defer { inbox = Inbox() }
                return inbox
            }
            for id in inbox.cancelled {
                if let (handle, transfer) = active.first(where: { ObjectIdentifier($0.value) == id }) {
                    active[handle] = nil
                    curl_multi_remove_handle(multi, handle)
                    transfer.finish(.failure(CancellationError()))
                } else if inbox.started.contains(where: { ObjectIdentifier($0) == id }) {
                    cancelledEarly.insert(id)
                }
            }
            for transfer in inbox.started {
                if cancelledEarly.remove(ObjectIdentifier(transfer)) != nil {
                    transfer.finish(.failure(CancellationError()))
                    continue
                }
                let handle = transfer.prepare()
                active[handle] = transfer
                curl_multi_add_handle(multi, handle)
            }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            var left: Int32 = 0
            while let message = curl_multi_info_read(multi, &left) {
                guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
                let code = message.pointee.data.result
                guard let transfer = active.removeValue(forKey: handle) else { continue }
                curl_multi_remove_handle(multi, handle)
                transfer.finish(transfer.result(of: code))
            }
            curl_multi_poll(multi, nil, 0, 30_000, nil)
        }
    }
}
