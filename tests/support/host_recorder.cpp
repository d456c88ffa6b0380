#include "tests/support/host_recorder.hpp"

#include <ATen/record_function.h>

namespace lora_dist {
namespace {

template <class Values, class Visit>
void for_each_tensor(const Values& values, const Visit& visit) {
  for (const c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().defined()) visit(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) visit(tensor);
  }
}

}  // namespace

/// An operation and where the memory lies that it reads.
struct HostRecorder::Read {
  std::string operation;
  const void* address;
  bool operator==(const Read&) const = default;
};

/// The reads of this thread's operations while it lives, but for those of memory that operations
/// under a watch have made. Operations that operations call are not looked at: they wrap numbers in
/// memory of their own.
class HostRecorder::Watch {
 public:
  explicit Watch(std::unordered_set<const void*>& made) : made_(made) {
    current = this;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(begin, end).needsInputs(true).needsOutputs(true));
  }
  ~Watch() {
    at::removeCallback(handle_);
    current = nullptr;
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  std::vector<Read> reads;

 private:
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
    if (current->depth_++ > 0) return nullptr;
    for_each_tensor(function.inputs(), [&](const at::Tensor& input) {
      const void* memory = input.storage().data();
      if (current->made_.count(memory)) return;
      current->from_outside_.insert(memory);
      current->reads.push_back({function.name(), input.const_data_ptr()});
    });
    return nullptr;
  }
  static void end(const at::RecordFunction& function, at::ObserverContext*) {
    if (--current->depth_ > 0) return;
    for_each_tensor(function.outputs(), [](const at::Tensor& output) {
      const void* memory = output.storage().data();
      if (!current->from_outside_.count(memory)) current->made_.insert(memory);  // else a view
    });
  }

  static thread_local Watch* current;

  int depth_ = 0;
  std::unordered_set<const void*>& made_;
  std::unordered_set<const void*> from_outside_;
  at::CallbackHandle handle_ = at::INVALID_CALLBACK_HANDLE;
};

thread_local HostRecorder::Watch* HostRecorder::Watch::current = nullptr;

class HostRecorder::HostGraph final : public ops::cuda::Graph {
 public:
  HostGraph(HostRecorder& recorder, std::function<void()> work)
      : recorder_(recorder), work_(std::move(work)), number_(recorder.num_recorded_++) {}
  ~HostGraph() override { say("forget"); }

  void replay() override {
    say("replay");
    Watch watch(recorder_.made_);
    work_();
    if (reads_.empty()) reads_ = watch.reads;
    for (size_t i = 0; i < std::max(reads_.size(), watch.reads.size()); ++i) {
      if (i < reads_.size() && i < watch.reads.size() && reads_[i] == watch.reads[i]) continue;
      recorder_.moved.push_back(i < reads_.size() ? reads_[i].operation : watch.reads[i].operation);
    }
  }

 private:
  void say(const char* event) const {
    recorder_.events.push_back(fmt::format("{} {}", event, number_));
  }

  HostRecorder& recorder_;
  const std::function<void()> work_;
  const int number_;
  std::vector<Read> reads_;  // of the first replay
};

void HostRecorder::rehearse(const std::function<void()>& work) {
  events.emplace_back("rehearse");
  work();
}

std::unique_ptr<ops::cuda::Graph> HostRecorder::record(const std::function<void()>& work) {
  events.push_back(fmt::format("record {}", num_recorded_));
  return std::make_unique<HostGraph>(*this, work);
}

}  // namespace lora_dist
