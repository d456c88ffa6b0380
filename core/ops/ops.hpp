// The operations a transformer block is made of, forward and backward.
//
// The row operations run our own kernels, on the CPU (core/ops/kernels) and on GPUs
// (core/ops/cuda); on other devices, and as the reference of the tests, they are composed of
// LibTorch operations (core/ops/composed). Large fp32 products, and all of a GPU, go to the
// library.
//
// Shapes: N rows (tokens of a micro-batch, B * T), D width, F feed-forward width, I and O in and
// out features,
//         V vocabulary, C rows of a chunk, H head width.
// Dtypes: activations are fp32 or bf16; norms' weights, inverse roots and rotation tables are fp32.
#pragma once

#include "core/ops/dropout.hpp"
#include "core/ops/kernels/kernels.hpp"
#include "core/weights/stored_weight.hpp"

namespace lora_dist::ops {

using kernels::Activation;

struct Rotation {
  at::Tensor cos_TH;  // (T, rotary / 2), fp32
  at::Tensor sin_TH;
  int64_t rotary = 0;  // rotated features of each head
};

/// inv_rms_N (fp32) is what the backward needs beside x.
at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset, double eps,
                    at::Tensor& inv_rms_N);
/// Gradient of x; added to `dx_ND` where it is defined, else returned in a new tensor through it.
void rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                       const at::Tensor& inv_rms_N, const at::Tensor& dy_ND, at::Tensor& dx_ND);

/// Rotates each head of x_NF (heads * head_dim features, rows may be strided) in place; row n has
/// position n % T.
void rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse);

/// act(gate) * up; gate and up may be strided rows.
at::Tensor gated(Activation activation, const at::Tensor& gate_NF, const at::Tensor& up_NF);
/// Replaces gate and up by their gradients.
void gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                    const at::Tensor& dy_NF);

/// The rows' losses (C), fp64, on the device of the logits, so that a GPU is not waited for. With
/// `gradient`, logits_CV is replaced by d(sum of them)/d(logits).
/// softcap > 0: logits are first softcap * tanh(logits / softcap).
at::Tensor cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                         bool gradient);

/// 0-dim, fp64, on the device of the values: the same bits for any number of threads.
at::Tensor sum_in_order(const at::Tensor& values);

/// x * keep / (1 - p); the same stream gives the same mask on every device, and the backward of y
/// is dropout(dy).
at::Tensor dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream);

/// x W^T, and dy W: the product of a frozen linear layer and of its backward. `weight_OI` may be
/// stored in another format than x; it is converted piece by piece in a buffer of the calling
/// thread.
at::Tensor product(const at::Tensor& x_NI, const StoredWeight& weight_OI);
at::Tensor product_transposed(const at::Tensor& dy_NO, const StoredWeight& weight_OI);
/// The first, into `y_NO`, which is contiguous and has the dtype of x.
void product_into(at::Tensor y_NO, const at::Tensor& x_NI, const StoredWeight& weight_OI);
/// The second, added to `dx_NI` where it is defined.
void add_product_transposed(at::Tensor& dx_NI, const at::Tensor& dy_NO,
                            const StoredWeight& weight_OI);

/// scale * x W^T, added to `y_NO` where it is defined.
void add_product(at::Tensor& y_NO, const at::Tensor& x_NI, const StoredWeight& weight_OI,
                 double scale = 1);
/// gradient_OI (fp32) += dy^T x.
void add_outer_product(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI);

/// The same through a dropout: drop(x) W^T, dx += drop(dy W) (dx made where it is undefined), and
/// gradient += dy^T drop(x).
at::Tensor product(const at::Tensor& x_NI, const at::Tensor& weight_OI, const Dropout& of_x);
void add_product_transposed(at::Tensor& dx_NI, const at::Tensor& dy_NO, const at::Tensor& weight_OI,
                            const Dropout& of_dx);
void add_outer_product(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI,
                       const Dropout& of_x);

/// How the kernels on the CPU call the dtype of activations; anything but fp32 and bf16 is an
/// error.
kernels::Element element_of(const at::Tensor& x);

/// The number format in which activations of `compute` are multiplied on `device`: fp32 on a CPU
/// without bf16 units, where LibTorch multiplies bf16 ten times slower.
at::ScalarType product_dtype(at::ScalarType compute, at::Device device);
/// Rows of the largest piece of a weight of `columns` that an fp32 product takes at once, and
/// converts at once where it is stored otherwise: it is still in the cache when it is multiplied.
int64_t most_piece_rows(int64_t columns);

/// Sum of squares in fp64, in fixed blocks: the same bits for any number of threads.
double sum_of_squares(const at::Tensor& flat);

/// Has MKL, which makes fp32 products, add in an order that does not depend on the number of
/// threads; on AVX-512 it does otherwise. To be called before the first product: MKL reads its
/// environment once. What the user has set in MKL_CBWR stays.
void fix_order_of_sums();

/// Whether this processor has bf16 instructions that our products use: AVX512-BF16 or AMX, none yet
/// of ARM's.
bool has_fast_bf16();
/// Whether x is of bf16, on a CPU that has them.
bool multiplies_bf16_here(const at::Tensor& x);

}  // namespace lora_dist::ops
