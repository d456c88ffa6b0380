// Writing safetensors: header known first, data streamed behind it.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/base/error.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

/// Order of the tensors in the file, as indices: descending element size, so that each is aligned,
/// then name.
std::vector<size_t> file_order(const std::vector<WeightInfo>& weights) {
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int64_t size_a = weights[a].format->block_bytes, size_b = weights[b].format->block_bytes;
    return size_a != size_b ? size_a > size_b : weights[a].name < weights[b].name;
  });
  return order;
}

/// Length and JSON, filled up with spaces so that the data starts at a multiple of 8.
std::string header_bytes(const std::vector<WeightInfo>& weights, const std::vector<size_t>& order,
                         const TensorMetadata& metadata) {
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  uint64_t begin = 0;
  for (const size_t index : order) {
    const WeightInfo& info = weights[index];
    const uint64_t end = begin + num_bytes(info);
    if (json.size() > 1) json += ',';
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        nlohmann::json(info.name).dump(), info.format->name,
                        fmt::join(info.shape, ","), begin, end);
    begin = end;
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(json.size() >> (8 * i) & 0xff);
  return bytes + json;
}

void write_content(NewFile& file, const std::vector<WeightInfo>& weights,
                   const TensorSupplier& supply, const TensorMetadata& metadata) {
  const std::vector<size_t> order = file_order(weights);
  file.write(header_bytes(weights, order, metadata));
  for (const size_t index : order) {
    const WeightInfo& info = weights[index];
    const at::Tensor tensor = supply(index);
    LD_CHECK(tensor.device().is_cpu() && tensor.is_contiguous() &&
                 info.format->plain == tensor.scalar_type() &&
                 tensor.sizes() == at::IntArrayRef(info.shape),
             "tensor '" + info.name + "' is not what was announced");
    file.write(tensor.const_data_ptr(), num_bytes(info));
  }
}

std::vector<WeightInfo> infos_of(const NamedTensors& tensors) {
  std::vector<WeightInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos.push_back({name, &plain_format(tensor.scalar_type()), tensor.sizes().vec()});
  return infos;
}

TensorSupplier supplier_of(const NamedTensors& tensors) {
  return [&tensors](size_t index) { return tensors[index].second; };
}

}  // namespace

void write_safetensors(NewFile& file, const NamedTensors& tensors, const TensorMetadata& metadata) {
  write_content(file, infos_of(tensors), supplier_of(tensors), metadata);
}

void write_safetensors(const std::string& path, const std::vector<WeightInfo>& weights,
                       const TensorSupplier& tensor, const TensorMetadata& metadata) {
  const std::string temporary = with_one_rewrite([&] {
    NewFile file(temporary_name(path));
    write_content(file, weights, tensor, metadata);
    file.close();
    return file.path();
  });
  rename_durably(temporary, path);
}

void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const TensorMetadata& metadata) {
  write_safetensors(path, infos_of(tensors), supplier_of(tensors), metadata);
}

}  // namespace lora_dist
