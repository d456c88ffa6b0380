#include "tests/support/tensor_memory.hpp"

#include <algorithm>
#include <mutex>

#include <c10/core/CPUAllocator.h>

namespace lora_dist {
namespace {

constexpr uint8_t kPriority = 100;  // above the program's own allocator

struct Tally {
  std::mutex mutex;
  int64_t alive = 0, peak = 0;

  void add(int64_t bytes) {
    const std::lock_guard lock(mutex);
    alive += bytes;
    peak = std::max(peak, alive);
  }
};

Tally& tally() {
  static Tally tally;
  return tally;
}

struct Block {
  c10::DataPtr data;
  int64_t bytes;
};

void free_block(void* context) {
  const std::unique_ptr<Block> block(static_cast<Block*>(context));
  tally().add(-block->bytes);
}

/// What LibTorch had before, counted.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* inner) : inner_(inner) {}
  c10::Allocator* inner() const { return inner_; }

  c10::DataPtr allocate(size_t bytes) override {
    auto block = std::make_unique<Block>(inner_->allocate(bytes), static_cast<int64_t>(bytes));
    tally().add(block->bytes);
    void* data = block->data.get();
    return {data, block.release(), &free_block, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  c10::Allocator* inner_;
};

}  // namespace

TensorMemory::TensorMemory() {
  tally().alive = tally().peak = 0;
  c10::SetCPUAllocator(new CountingAllocator(c10::GetCPUAllocator()), kPriority);
}

TensorMemory::~TensorMemory() {
  // The counting one stays alive: tensors that it made may.
  c10::SetCPUAllocator(static_cast<CountingAllocator*>(c10::GetCPUAllocator())->inner(), kPriority);
}

int64_t TensorMemory::peak_bytes() const { return tally().peak; }

}  // namespace lora_dist
