#include "dist/backends/stream_order.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace lora_dist {

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

std::optional<c10::Event> mark_queued_work(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  c10::Event event(device.type());
  event.record(current_stream(device));
  return event;
}

void queue_behind(const c10::Event& event, at::Device device) {
  event.block(current_stream(device));
}

}  // namespace lora_dist
