// Products with frozen weights, in the number format that this machine multiplies fast.
//
// Weights stay as they are stored (mapped from the file). Where they differ from what the product
// needs, they are converted piece by piece into one buffer per thread and multiplied from there: a
// converted copy of the whole base would cost twice the memory of a bf16 file, and a piece is still
// in the cache when it is multiplied.

#include <cstdlib>

#include "core/base/trace.hpp"
#include "core/ops/bf16_products.hpp"
#include "core/ops/kernels/bf16_products.hpp"
#include "core/ops/low_rank_products.hpp"
#include "core/ops/ops.hpp"
#include "core/ops/pieces.hpp"

namespace lora_dist::ops {
namespace {

at::ScalarType product_dtype(const at::Tensor& x) {
  return ops::product_dtype(x.scalar_type(), x.device());
}

/// Rows of `weight` in `dtype`, in this thread's buffer, which the next call overwrites.
at::Tensor converted(const StoredWeight& weight, int64_t first, int64_t rows,
                     at::ScalarType dtype) {
  thread_local at::Tensor buffer;
  const trace::Span span("widen weights");
  const int64_t columns = weight.size(1), size = rows * columns;
  if (!buffer.defined() || buffer.numel() < size || buffer.scalar_type() != dtype ||
      buffer.device() != weight.device()) {
    buffer = at::empty({size}, weight.stored().options().dtype(dtype));
  }
  const at::Tensor target = buffer.narrow(0, 0, size).view({rows, columns});
  weight.decode(first, 0, target);
  return target;
}

/// Calls use(first, piece_PI) for pieces of equal size of the rows of `weight_OI`, in `dtype`. Not
/// cut are weights that a GPU's library takes as they are stored.
template <class Use>
void for_each_piece(const StoredWeight& weight_OI, at::ScalarType dtype, const Use& use) {
  const bool converts = weight_OI.converts_to(dtype);
  if (!converts && !weight_OI.is_cpu()) return use(0, weight_OI.as_tensor());
  Pieces(weight_OI.size(0), most_piece_rows(weight_OI.size(1)))
      .for_each([&](int64_t first, int64_t rows) {
        use(first, converts ? converted(weight_OI, first, rows, dtype)
                            : weight_OI.as_tensor().narrow(0, first, rows));
      });
}

/// Whether a product of x with `num_columns` on the other side is one of our own, which applies a
/// dropout to what it reads or makes. x has the dtype of the product.
bool is_our_own(const at::Tensor& x, int64_t num_columns) {
  return multiplies_bf16_here(x) || low_rank::suits(x, num_columns);
}
/// Small products read all of a weight at once, which is for tensors only.
bool is_our_own(const at::Tensor& x, const StoredWeight& weight, int64_t num_columns) {
  return multiplies_bf16_here(x) || (weight.is_plain() && low_rank::suits(x, num_columns));
}
/// b is the weight, or its transpose.
void multiply_here(const at::Tensor& y_NO, const at::Tensor& x_NK, const StoredWeight& weight,
                   bool is_transposed, const ProductOptions& options) {
  if (multiplies_bf16_here(x_NK)) {
    bf16::multiply(y_NO, x_NK, {weight, is_transposed}, options);
  } else {
    const at::Tensor& b = weight.as_tensor();
    low_rank::multiply(y_NO, x_NK, is_transposed ? b.t() : b, options);
  }
}
/// The small side becomes rows of the result: whole rows of the large one are read.
void add_outer_product_here(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                            const at::Tensor& x_NI, const Dropout* of_x) {
  if (dy_NO.size(1) > x_NI.size(1)) {
    const at::Tensor transposed_IO =
        at::zeros({gradient_OI.size(1), gradient_OI.size(0)}, gradient_OI.options());
    add_outer_product_here(transposed_IO, of_x ? of_x->of(x_NI) : x_NI, dy_NO, nullptr);
    gradient_OI.add_(transposed_IO.t());
  } else if (multiplies_bf16_here(x_NI)) {
    bf16::add_outer_product(gradient_OI, dy_NO, x_NI, of_x);
  } else {
    low_rank::add_outer_product(gradient_OI, dy_NO, x_NI, of_x);
  }
}

/// y = beta y + scale * x W^T; y has the dtype of the product.
void multiply(const at::Tensor& y_NO, double beta, const at::Tensor& x_NI,
              const StoredWeight& weight_OI, double scale = 1) {
  if (is_our_own(x_NI, weight_OI, weight_OI.size(0)))
    return multiply_here(y_NO, x_NI, weight_OI, /*is_transposed=*/true,
                         {.scale = scale, .accumulate = beta != 0});
  for_each_piece(weight_OI, y_NO.scalar_type(), [&](int64_t first, const at::Tensor& piece_PI) {
    y_NO.narrow(1, first, piece_PI.size(0)).addmm_(x_NI, piece_PI.t(), beta, scale);
  });
}

/// x W^T in the dtype of the product.
at::Tensor unrounded_product(const at::Tensor& x_NI, const StoredWeight& weight_OI) {
  at::Tensor y_NO =
      at::empty({x_NI.size(0), weight_OI.size(0)}, x_NI.options().dtype(product_dtype(x_NI)));
  multiply(y_NO, /*beta=*/0, x_NI.to(y_NO.scalar_type()), weight_OI);
  return y_NO;
}

/// dx = beta dx + dy W; dx has the dtype of the product.
void multiply_transposed(const at::Tensor& dx_NI, double beta, const at::Tensor& dy_NO,
                         const StoredWeight& weight_OI) {
  if (is_our_own(dy_NO, weight_OI, weight_OI.size(1)))
    return multiply_here(dx_NI, dy_NO, weight_OI, /*is_transposed=*/false,
                         {.accumulate = beta != 0});
  for_each_piece(weight_OI, dx_NI.scalar_type(), [&](int64_t first, const at::Tensor& piece_PI) {
    dx_NI.addmm_(dy_NO.narrow(1, first, piece_PI.size(0)), piece_PI, first == 0 ? beta : 1);
  });
}

bool applies_dropout(const at::Tensor& x, int64_t num_columns) {
  return product_dtype(x) == x.scalar_type() && is_our_own(x, num_columns);
}

}  // namespace

int64_t most_piece_rows(int64_t columns) {
  // MKL multiplies the head of SmolLM2-135M a quarter faster in pieces of 2048 rows than of 7281.
  constexpr int64_t kMostRows = 2048, kMostElements = int64_t{4} << 20;
  return std::clamp<int64_t>(kMostElements / columns, 1, kMostRows);
}

void fix_order_of_sums() { setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0); }

bool has_fast_bf16() {
  static const bool fast = kernels::runnable_bf16_tables().size() > 1;  // not the plain loops alone
  return fast;
}

bool multiplies_bf16_here(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && has_fast_bf16();
}

at::ScalarType product_dtype(at::ScalarType compute, at::Device device) {
  return device.is_cpu() && compute == at::kBFloat16 && !has_fast_bf16() ? at::kFloat : compute;
}

at::Tensor product(const at::Tensor& x_NI, const StoredWeight& weight_OI) {
  return unrounded_product(x_NI, weight_OI).to(x_NI.scalar_type());
}

at::Tensor product_transposed(const at::Tensor& dy_NO, const StoredWeight& weight_OI) {
  const at::Tensor dx_NI =
      at::empty({dy_NO.size(0), weight_OI.size(1)}, dy_NO.options().dtype(product_dtype(dy_NO)));
  multiply_transposed(dx_NI, /*beta=*/0, dy_NO.to(dx_NI.scalar_type()), weight_OI);
  return dx_NI.to(dy_NO.scalar_type());
}

void product_into(at::Tensor y_NO, const at::Tensor& x_NI, const StoredWeight& weight_OI) {
  if (product_dtype(x_NI) == x_NI.scalar_type()) {
    multiply(y_NO, /*beta=*/0, x_NI, weight_OI);
  } else {
    y_NO.copy_(unrounded_product(x_NI, weight_OI));
  }
}

void add_product_transposed(at::Tensor& dx_NI, const at::Tensor& dy_NO,
                            const StoredWeight& weight_OI) {
  if (!dx_NI.defined()) {
    dx_NI = product_transposed(dy_NO, weight_OI);
  } else if (product_dtype(dy_NO) == dy_NO.scalar_type()) {
    multiply_transposed(dx_NI, /*beta=*/1, dy_NO, weight_OI);
  } else {
    dx_NI.add_(product_transposed(dy_NO, weight_OI));
  }
}

void add_product(at::Tensor& y_NO, const at::Tensor& x_NI, const StoredWeight& weight_OI,
                 double scale) {
  const bool is_new = !y_NO.defined();
  if (product_dtype(x_NI) == x_NI.scalar_type()) {
    if (is_new) y_NO = at::empty({x_NI.size(0), weight_OI.size(0)}, x_NI.options());
    multiply(y_NO, /*beta=*/is_new ? 0 : 1, x_NI, weight_OI, scale);
  } else if (is_new) {
    y_NO = product(x_NI, weight_OI).mul_(scale);
  } else {
    y_NO.add_(product(x_NI, weight_OI), scale);
  }
}

void add_outer_product(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI) {
  const at::ScalarType dtype = product_dtype(x_NI);
  const at::Tensor dy = dy_NO.to(dtype), x = x_NI.to(dtype);
  if (is_our_own(x, gradient_OI.size(0))) {
    add_outer_product_here(gradient_OI, dy, x, nullptr);
  } else if (dtype != at::kFloat) {
    gradient_OI.add_(at::mm(dy.t(), x));
  } else {
    gradient_OI.addmm_(dy.t(), x);
  }
}

at::Tensor product(const at::Tensor& x_NI, const at::Tensor& weight_OI, const Dropout& of_x) {
  if (!applies_dropout(x_NI, weight_OI.size(0))) return product(of_x.of(x_NI), weight_OI);
  const at::Tensor y_NO = at::empty({x_NI.size(0), weight_OI.size(0)}, x_NI.options());
  multiply_here(y_NO, x_NI, weight_OI, /*is_transposed=*/true, {.of_input = &of_x});
  return y_NO;
}

void add_product_transposed(at::Tensor& dx_NI, const at::Tensor& dy_NO, const at::Tensor& weight_OI,
                            const Dropout& of_dx) {
  const bool is_new = !dx_NI.defined();
  if (applies_dropout(dy_NO, weight_OI.size(1))) {
    if (is_new) dx_NI = at::empty({dy_NO.size(0), weight_OI.size(1)}, dy_NO.options());
    multiply_here(dx_NI, dy_NO, weight_OI, /*is_transposed=*/false,
                  {.accumulate = !is_new, .of_result = &of_dx});
  } else {
    const at::Tensor dx = of_dx.of(product_transposed(dy_NO, weight_OI));
    dx_NI = is_new ? dx : dx_NI.add_(dx);
  }
}

void add_outer_product(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI,
                       const Dropout& of_x) {
  if (applies_dropout(x_NI, gradient_OI.size(0))) {
    add_outer_product_here(gradient_OI, dy_NO, x_NI, &of_x);
  } else {
    add_outer_product(gradient_OI, dy_NO, of_x.of(x_NI));
  }
}

}  // namespace lora_dist::ops
