// CPU kernels behind core/ops: one source (kernels.inc), built for several instruction sets, chosen
// once at run time.
//
// Raw pointers and row ranges only. Every result depends on its own row alone, so that the number
// of threads never changes a bit. Element types are float and bf16 (as bits); sums run in fp32,
// losses in fp64.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace lora_dist::kernels {

enum class Element { fp32, bf16 };
enum class Activation { silu, gelu, gelu_tanh, relu };
inline constexpr Activation kActivations[] = {Activation::silu, Activation::gelu,
                                              Activation::gelu_tanh, Activation::relu};

struct DropoutStream {  // counter-based: the mask is a function of these numbers and the element's
                        // place
  uint64_t seed = 0;
  uint32_t step = 0, slot = 0, module = 0;
  /// Where not null, memory of the device that draws, read when it does in place of `step` and
  /// `slot`: a recorded kernel runs again with what lies there then.
  const uint32_t* step_and_slot = nullptr;
};

/// c (+)= scale * a b in fp32; c (m, n), a (m, k), b (k, n). Rows are `_row` elements apart,
/// columns of a `a_col`: it may be transposed.
struct SmallProduct {
  int64_t m, n, k;
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  float scale = 1;
  bool accumulate = false;
};

/// y (+)= scale * x where a bit of `kept` is set, and 0 elsewhere. Rows are `_row` elements apart,
/// of `kept` words; its first bit belongs to the first column.
struct KeptRows {
  Element x_element;
  const void* x;
  int64_t x_row;
  Element y_element;
  void* y;
  int64_t y_row;
  const uint32_t* kept;
  int64_t kept_row;
  float scale;
  bool accumulate;
  int64_t rows, columns;
};
constexpr int64_t words_of_kept(int64_t width) { return (width + 31) / 32; }

/// All pointers are row-major; `rows` is split over threads by the caller through parallel_rows.
struct Table {
  const char* name;

  /// y = x * inv_rms * (weight + offset); inv_rms = 1 / sqrt(mean(x^2) + eps) is written per row.
  void (*rms_norm)(Element, const void* x, const float* weight, float offset, float eps, void* y,
                   float* inv_rms, int64_t first, int64_t last, int64_t width);
  /// dx (+)= the gradient of rms_norm.
  void (*rms_norm_backward)(Element, const void* x, const float* weight, float offset,
                            const float* inv_rms, const void* dy, void* dx, bool accumulate,
                            int64_t first, int64_t last, int64_t width);
  /// Rotates pairs (i, i + rotary/2) of each head in place by the row's position; `direction` -1
  /// undoes it.
  void (*rope)(Element, void* x, int64_t row_stride, int64_t heads, int64_t head_dim,
               int64_t rotary, const float* cos, const float* sin, int64_t tokens, float direction,
               int64_t first, int64_t last);
  /// y = act(gate) * up.
  void (*gated)(Element, Activation, const void* gate, int64_t gate_stride, const void* up,
                int64_t up_stride, void* y, int64_t first, int64_t last, int64_t width);
  /// dgate = dy * up * act'(gate), dup = dy * act(gate). dgate and dup may be gate and up
  /// themselves.
  void (*gated_backward)(Element, Activation, const void* gate, int64_t gate_stride, const void* up,
                         int64_t up_stride, const void* dy, void* dgate, int64_t dgate_stride,
                         void* dup, int64_t dup_stride, int64_t first, int64_t last, int64_t width);
  /// losses[row] = logsumexp(logits) - logits[label]; with `gradient`, logits become softmax -
  /// onehot(label). softcap > 0 applies softcap * tanh(logits / softcap) first, and its derivative
  /// to the gradient.
  void (*cross_entropy)(Element, void* logits, const int64_t* labels, double* losses, float softcap,
                        bool gradient, int64_t first, int64_t last, int64_t width);
  /// Which elements a dropout of probability p keeps, drawn from the stream by row and column: a
  /// row has words_of_kept(width) words, and bit i % 32 of word i / 32 is element i. Bits behind
  /// the last are 0.
  void (*draw_kept)(uint32_t* kept, float p, DropoutStream, int64_t first, int64_t last,
                    int64_t width);
  void (*take_kept)(const KeptRows&);
  /// Rows of attention weights (fp32, `width` apart, fp32 only): scores become
  /// softmax(cap(scale * scores)) over the columns [first[row], last[row]) and 0 elsewhere.
  /// cap(s) = softcap * tanh(s / softcap) with softcap > 0, else s. log_sums[row] is the logarithm
  /// of the softmax's denominator.
  void (*attention_weights)(float* scores, float scale, float softcap, const int64_t* first,
                            const int64_t* last, float* log_sums, int64_t rows, int64_t width);
  /// The same weights again from the scores and `log_sums`. `slopes` (null without softcap)
  /// receives the derivative of cap.
  void (*attention_weights_again)(float* scores, float scale, float softcap, const int64_t* first,
                                  const int64_t* last, const float* log_sums, float* slopes,
                                  int64_t rows, int64_t width);
  /// Replaces the gradients of the weights by those of the scores before `scale`:
  /// weights * (dweights - dot(out, dout)) * slopes * scale. Rows of out and dout are strided.
  void (*attention_score_gradient)(const float* weights, float* dweights, const float* slopes,
                                   const float* out, int64_t out_stride, const float* dout,
                                   int64_t dout_stride, int64_t head_dim, float scale, int64_t rows,
                                   int64_t width);
  /// Sum of squares of one block of fp32 values, in fp64.
  double (*sum_of_squares)(const float* x, int64_t count);
  /// For matrices that lie in the caches, on the calling thread. An element of c has the same bits
  /// whatever m and n are.
  void (*small_product)(const SmallProduct&);
};

/// The best table for this processor: avx512, avx2 or baseline on x86-64, neon on AArch64.
const Table& table();
/// All tables this processor can run, the best first and the scalar reference last; for tests.
std::vector<const Table*> runnable_tables();

/// Splits [0, rows) over LibTorch's threads.
void parallel_rows(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

}  // namespace lora_dist::kernels
