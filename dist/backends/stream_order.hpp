// Order between the streams of a GPU, in the words of c10 that need none of CUDA's headers:
// LibTorch's CUDA half fills them in when it is loaded. On the host there is nothing to order.
#pragma once

#include <optional>

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

namespace lora_dist {

/// The stream on which this thread queues what it computes on `device`, a GPU.
c10::Stream current_stream(at::Device device);

/// The end of all that this thread has queued on `device` so far; nothing for the host.
std::optional<c10::Event> mark_queued_work(at::Device device);

/// What this thread queues on `device` from here on runs after `event`.
void queue_behind(const c10::Event& event, at::Device device);

}  // namespace lora_dist
