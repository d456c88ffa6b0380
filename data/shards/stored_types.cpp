#include "data/shards/stored_types.hpp"

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kMaxShort = 65536;  // so many values fit into uint16

/// A float of two bytes: a sign, `exponent_bits`, and the rest of 16 for the mantissa.
H5Id two_byte_float(size_t exponent_bits, const H5Task& task) {
  constexpr auto kMaking = "make a type of two bytes";
  const size_t mantissa_bits = 15 - exponent_bits;
  H5Id type = h5_check(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, task, kMaking);
  h5_check(H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits), task, kMaking);
  h5_check(H5Tset_ebias(type, (size_t{1} << (exponent_bits - 1)) - 1), task, kMaking);
  h5_check(H5Tset_size(type, 2), task, kMaking);
  return type;
}

H5Id copy_of(hid_t type, const H5Task& task) {
  return h5_check(H5Tcopy(type), H5Tclose, task, "copy a type");
}

bool is_bounded(const Column& column) {
  return column.num_values > 0 && at::isIntegralType(column.dtype, /*includeBool=*/false);
}

std::string name_of(H5T_class_t kind, bool is_unsigned, size_t width_bytes) {
  if (kind == H5T_FLOAT) return fmt::format("float{}", width_bytes * 8);
  return fmt::format("{}int{}", is_unsigned ? "u" : "", width_bytes * 8);
}

}  // namespace

std::string StoredNumbers::names() const {
  std::vector<std::string> each;
  for (const size_t width : widths_bytes) each.push_back(name_of(kind, is_unsigned, width));
  return fmt::format("{}", fmt::join(each, " or "));
}

StoredNumbers stored_numbers(const Column& column) {
  if (at::isFloatingType(column.dtype))
    return {.kind = H5T_FLOAT, .widths_bytes = {at::elementSize(column.dtype)}};
  if (is_bounded(column)) return {.widths_bytes = {2, 4}};
  return {.is_unsigned = column.dtype == at::kByte,
          .widths_bytes = {at::elementSize(column.dtype)}};
}

std::string name_of_type(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind != H5T_FLOAT && kind != H5T_INTEGER) return "not a number";
  return name_of(kind, kind == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE, H5Tget_size(type));
}

H5Id file_type(const Column& column, const H5Task& task) {
  if (is_bounded(column))
    return copy_of(column.num_values <= kMaxShort ? H5T_STD_U16LE : H5T_STD_U32LE, task);
  switch (column.dtype) {
    case at::kByte:
      return copy_of(H5T_STD_U8LE, task);
    case at::kInt:
      return copy_of(H5T_STD_I32LE, task);
    case at::kLong:
      return copy_of(H5T_STD_I64LE, task);
    default:
      return memory_type(column.dtype, task);
  }
}

H5Id memory_type(at::ScalarType dtype, const H5Task& task) {
  switch (dtype) {
    case at::kByte:
      return copy_of(H5T_NATIVE_UINT8, task);
    case at::kInt:
      return copy_of(H5T_NATIVE_INT32, task);
    case at::kLong:
      return copy_of(H5T_NATIVE_INT64, task);
    case at::kFloat:
      return copy_of(H5T_IEEE_F32LE, task);
    case at::kHalf:
      return two_byte_float(/*exponent_bits=*/5, task);
    case at::kBFloat16:
      return two_byte_float(/*exponent_bits=*/8, task);
    default:
      LD_CHECK(false, "a column of a type that parts cannot hold");
  }
}

}  // namespace lora_dist
