#include "core/samples/sample.hpp"

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

bool fits(const at::Tensor& value, const Column& column) {
  const auto leading = static_cast<int64_t>(column.offsets.empty() ? 0 : 1);
  return value.scalar_type() == column.dtype && value.is_contiguous() &&
         value.sizes().slice(std::min(leading, value.dim())) == at::IntArrayRef(column.element) &&
         value.dim() == leading + std::ssize(column.element);
}

}  // namespace

std::vector<ColumnView> view_of(const Sample& sample) {
  std::vector<ColumnView> view;
  view.reserve(sample.values.size());
  for (const at::Tensor& value : sample.values)
    view.push_back({value.const_data_ptr(), value.dim() == 0 ? 1 : value.size(0)});
  return view;
}

void SampleMeasures::add(const SampleMeasure& measure) {
  costs.push_back(static_cast<int32_t>(measure.cost));
  loss_terms.push_back(static_cast<int32_t>(measure.loss_terms));
  buckets.push_back(measure.bucket);
}

void require_fitting(const Sample& sample, const SampleSchema& schema) {
  LD_CHECK(sample.values.size() == schema.columns.size(), "a sample has a value for each column");
  for (size_t i = 0; i < schema.columns.size(); ++i)
    LD_CHECK(fits(sample.values[i], schema.columns[i]), "a value is not one of its column");
  for (size_t i = 0; i < schema.columns.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      LD_CHECK(schema.columns[i].offsets.empty() ||
                   schema.columns[i].offsets != schema.columns[j].offsets ||
                   sample.values[i].size(0) == sample.values[j].size(0),
               "columns with common offsets have equally many elements");
}

}  // namespace lora_dist
