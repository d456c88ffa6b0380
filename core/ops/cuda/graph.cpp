#include "core/ops/cuda/graph.hpp"

#include "core/base/error.hpp"

#ifdef LORA_DIST_CUDA

#include <atomic>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>

namespace lora_dist::ops::cuda {
namespace {

using c10::cuda::CUDACachingAllocator::CUDAAllocator;

void cuda_check(const char* call, cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // taken note of: the next launch must not report it
  TORCH_CHECK(false, "CUDA graph: ", call, ": ", cudaGetErrorString(error));
}

cudaStream_t handle_of(const c10::Stream& stream) {
  return static_cast<cudaStream_t>(stream.native_handle());
}

c10::Stream current_stream(at::Device gpu) {
  return c10::impl::VirtualGuardImpl(gpu.type()).getStream(gpu);
}

/// A private pool of LibTorch's allocator, which counts its users: the recorder and each graph. The
/// allocator is asked through its interface alone; LibTorch's CUDA half is not linked.
class GraphMemory {
 public:
  explicit GraphMemory(at::Device gpu)
      : gpu_(gpu),
        allocator_(static_cast<CUDAAllocator&>(*c10::GetAllocator(at::kCUDA))),
        pool_{0, next_number()} {
    // CUDA's asynchronous allocator would record allocations, each bound to its one graph.
    TORCH_CHECK(allocator_.name() == "native", "CUDA graph: recordings need LibTorch's own ",
                "allocator, PYTORCH_CUDA_ALLOC_CONF asks for ", allocator_.name());
    // The first use makes the pool, each one is counted, and this one is kept.
    allocator_.beginAllocateToPool(gpu_.index(), pool_, [](cudaStream_t) { return false; });
    allocator_.endAllocateToPool(gpu_.index(), pool_);
  }
  ~GraphMemory() { allocator_.releasePool(gpu_.index(), pool_); }
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

  void empty_cache() { allocator_.emptyCache(); }

  /// Memory that is asked for on `stream` comes from the pool for as long as this lives.
  class Use {
   public:
    Use(GraphMemory& memory, cudaStream_t stream) : memory_(memory) {
      memory_.allocator_.beginAllocateToPool(
          memory_.gpu_.index(), memory_.pool_,
          [stream](cudaStream_t asking) { return asking == stream; });
    }
    ~Use() {
      memory_.allocator_.endAllocateToPool(memory_.gpu_.index(), memory_.pool_);
      memory_.allocator_.releasePool(memory_.gpu_.index(), memory_.pool_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    GraphMemory& memory_;
  };

 private:
  /// LibTorch's own pools are numbered from 1 on.
  static c10::CaptureId_t next_number() {
    static std::atomic<c10::CaptureId_t> last{c10::CaptureId_t{1} << 32};
    return ++last;
  }

  at::Device gpu_;
  CUDAAllocator& allocator_;
  c10::MempoolId_t pool_;
};

/// From here to end() what this thread queues on `stream` is recorded. Other threads may use the
/// device meanwhile: data is read, checkpoints are written, collectives are watched.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    cuda_check("cudaStreamBeginCapture",
               cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~Capture() {
    if (!has_ended_) abandon();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraph_t end() {
    has_ended_ = true;
    cudaGraph_t graph = nullptr;
    cuda_check("cudaStreamEndCapture", cudaStreamEndCapture(stream_, &graph));
    TORCH_CHECK(graph != nullptr, "CUDA graph: the recording is empty");
    return graph;
  }

 private:
  void abandon() {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
    cudaGetLastError();
  }

  cudaStream_t stream_;
  bool has_ended_ = false;
};

class DeviceGraph final : public Graph {
 public:
  /// Takes `graph` over.
  DeviceGraph(cudaGraph_t graph, at::Device gpu, std::shared_ptr<GraphMemory> memory)
      : gpu_(gpu), memory_(std::move(memory)) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    cuda_check("cudaGraphInstantiate", error);
  }
  // CUDA ends a launch that is under way first, without waiting here.
  ~DeviceGraph() override { cudaGraphExecDestroy(executable_); }
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  void replay() override {
    const c10::DeviceGuard guard(gpu_);
    cuda_check("cudaGraphLaunch", cudaGraphLaunch(executable_, handle_of(current_stream(gpu_))));
  }

 private:
  at::Device gpu_;
  std::shared_ptr<GraphMemory> memory_;  // longer than the graph that writes there
  cudaGraphExec_t executable_ = nullptr;
};

class DeviceRecorder final : public GraphRecorder {
 public:
  // The default stream cannot be captured. Streams of LibTorch's pool do not wait for it either.
  explicit DeviceRecorder(at::Device gpu)
      : gpu_(gpu),
        stream_(c10::impl::VirtualGuardImpl(gpu.type()).getStreamFromGlobalPool(gpu)),
        memory_(std::make_shared<GraphMemory>(gpu)) {}

  void make_room() override { memory_->empty_cache(); }

  void rehearse(const std::function<void()>& work) override {
    const c10::Stream current = current_stream(gpu_);
    c10::Event before(gpu_.type()), behind(gpu_.type());
    before.record(current);
    before.block(stream_);
    {
      const c10::StreamGuard on_stream(stream_);
      const GraphMemory::Use in_pool(*memory_, handle_of(stream_));
      work();
    }
    behind.record(stream_);
    behind.block(current);
  }

  std::unique_ptr<Graph> record(const std::function<void()>& work) override {
    const c10::StreamGuard on_stream(stream_);
    // Around the capture: while one runs, the allocator must know, so that it puts off its events.
    const GraphMemory::Use in_pool(*memory_, handle_of(stream_));
    Capture capture(handle_of(stream_));
    work();
    return std::make_unique<DeviceGraph>(capture.end(), gpu_, memory_);
  }

 private:
  at::Device gpu_;
  c10::Stream stream_;
  std::shared_ptr<GraphMemory> memory_;
};

}  // namespace

std::unique_ptr<GraphRecorder> make_graph_recorder(at::Device gpu) {
  LD_CHECK(gpu.is_cuda(), "graphs are recorded for a GPU");
  return std::make_unique<DeviceRecorder>(gpu);
}

}  // namespace lora_dist::ops::cuda

#else

namespace lora_dist::ops::cuda {

std::unique_ptr<GraphRecorder> make_graph_recorder(at::Device /*gpu*/) {
  LD_CHECK(false, "a build without CUDA has no kernels to record");
  return nullptr;
}

}  // namespace lora_dist::ops::cuda

#endif
