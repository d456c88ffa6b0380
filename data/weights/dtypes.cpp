#include "data/weights/dtypes.hpp"

#include <array>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

struct DtypeName {
  std::string_view name;
  at::ScalarType dtype;
};

constexpr std::array kDtypes = {
    DtypeName{"BOOL", at::kBool},
    DtypeName{"U8", at::kByte},
    DtypeName{"I8", at::kChar},
    DtypeName{"F8_E4M3", at::kFloat8_e4m3fn},
    DtypeName{"F8_E5M2", at::kFloat8_e5m2},
    DtypeName{"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    DtypeName{"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    DtypeName{"F8_E8M0", at::kFloat8_e8m0fnu},
    DtypeName{"I16", at::kShort},
    DtypeName{"U16", at::kUInt16},
    DtypeName{"F16", at::kHalf},
    DtypeName{"BF16", at::kBFloat16},
    DtypeName{"I32", at::kInt},
    DtypeName{"U32", at::kUInt32},
    DtypeName{"F32", at::kFloat},
    DtypeName{"I64", at::kLong},
    DtypeName{"U64", at::kUInt64},
    DtypeName{"F64", at::kDouble},
    DtypeName{"C64", at::kComplexFloat},
};

}  // namespace

std::optional<at::ScalarType> dtype_from_name(std::string_view name) {
  for (const DtypeName& known : kDtypes)
    if (known.name == name) return known.dtype;
  return std::nullopt;
}

std::string_view dtype_name(at::ScalarType dtype) {
  for (const DtypeName& known : kDtypes)
    if (known.dtype == dtype) return known.name;
  LD_CHECK(false, fmt::format("safetensors has no name for {}", c10::toString(dtype)));
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace lora_dist
