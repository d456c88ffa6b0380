#include "data/weights/base_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "core/error.hpp"
#include "data/files.hpp"
#include "data/json.hpp"
#include "data/printable.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

std::string inside(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

void require_folder(const std::string& model_dir) {
  if (fs::is_directory(model_dir)) return;
  if (!fs::exists(model_dir))
    throw ModelError(
        {model_dir, "no such folder", {}, "give base_model the folder of a downloaded model"});
  throw ModelError({model_dir, "is a file", "the folder of a base model", {}});
}

/// All tensors of one or more mapped files under one numbering, in name order.
class MappedWeights final : public WeightSource {
 public:
  MappedWeights(std::string location, const std::vector<std::string>& paths)
      : location_(std::move(location)) {
    struct Entry {
      WeightInfo info;
      Place place;
    };
    std::vector<Entry> entries;
    for (const std::string& path : paths) {
      files_.push_back(SafetensorsFile::open(path));
      const auto& weights = files_.back()->weights();
      for (size_t i = 0; i < weights.size(); ++i)
        entries.push_back({weights[i], {files_.size() - 1, i}});
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.info.name, a.place.file) < std::tie(b.info.name, b.place.file);
    });
    for (Entry& entry : entries) {
      if (!weights_.empty() && weights_.back().name == entry.info.name)
        throw ModelError(
            {location_,
             fmt::format("tensor '{}' is in {} and in {}", printable(entry.info.name, 256),
                         files_[places_.back().file]->path(), files_[entry.place.file]->path()),
             "one of them", "download again"});
      weights_.push_back(std::move(entry.info));
      places_.push_back(entry.place);
    }
  }

  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  at::Tensor acquire(size_t index) override {
    const Place place = places_.at(index);
    return files_[place.file]->tensor(place.index);
  }
  void release(size_t index) override {
    const Place place = places_.at(index);
    files_[place.file]->release(place.index);
  }
  bool file_contains(size_t file, const std::string& name) const {
    return files_[file]->contains(name);
  }

 private:
  struct Place {
    size_t file, index;
  };
  std::string location_;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::vector<WeightInfo> weights_;
  std::vector<Place> places_;  // [weight]
};

/// A file name from an index: plain, in the same folder, there.
void check_shard_name(const std::string& name, const std::string& model_dir,
                      const std::string& index_path) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
    throw ModelError(
        {index_path, fmt::format("file name '{}' leaves the folder", printable(name)), {}, {}});
  if (!fs::exists(inside(model_dir, name)))
    throw ModelError(
        {index_path, fmt::format("'{}' does not exist", printable(name)), {}, "download again"});
}

std::unique_ptr<WeightSource> open_indexed(const std::string& model_dir) {
  const std::string index_path = inside(model_dir, kIndexFile);
  const auto index = read_json_file<nlohmann::json>(index_path);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    throw ModelError({index_path, "'weight_map' is missing", {}, "download again"});

  std::vector<std::string> names;  // of the files, sorted
  for (const auto& [tensor, name] : map->items()) {
    if (!name.is_string())
      throw ModelError(
          {index_path,
           fmt::format("weight_map '{}' is {}", printable(tensor, 256), json_kind(name.type())),
           "a file name",
           {}});
    names.push_back(name.get<std::string>());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<std::string> paths;
  for (const std::string& name : names) {
    check_shard_name(name, model_dir, index_path);
    paths.push_back(inside(model_dir, name));
  }

  auto source = std::make_unique<MappedWeights>(model_dir, paths);
  for (const auto& [tensor, name] : map->items()) {
    const auto file =
        std::lower_bound(names.begin(), names.end(), name.get_ref<const std::string&>()) -
        names.begin();
    if (!source->file_contains(static_cast<size_t>(file), tensor))
      throw ModelError(
          {index_path,
           fmt::format("tensor '{}' is not in '{}'", printable(tensor, 256), names[file]),
           {},
           "download again"});
  }
  return source;
}

/// Why there is nothing to open in `model_dir`.
[[noreturn]] void fail_without_weights(const std::string& model_dir) {
  for (const auto& entry : fs::directory_iterator(model_dir)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("pytorch_model") && name.ends_with(".bin"))
      throw ModelError({folder_label(model_dir),
                        "only pytorch_model.bin",
                        {},
                        "pickles are never read, use the safetensors version of this model"});
  }
  throw ModelError({folder_label(model_dir), "no weights",
                    fmt::format("{} or {}", kSingleFile, kIndexFile), "download again"});
}

}  // namespace

std::unique_ptr<WeightSource> open_base_weights(const std::string& model_dir) {
  require_folder(model_dir);
  const std::string single = inside(model_dir, kSingleFile);
  if (fs::exists(single)) return std::make_unique<MappedWeights>(single, std::vector{single});
  if (fs::exists(inside(model_dir, kIndexFile))) return open_indexed(model_dir);
  fail_without_weights(model_dir);
}

nlohmann::ordered_json read_model_config(const std::string& model_dir) {
  require_folder(model_dir);
  const std::string path = inside(model_dir, "config.json");
  if (!fs::exists(path))
    throw ModelError(
        {folder_label(model_dir), "no config.json", "a model folder in Hugging Face layout", {}});
  nlohmann::ordered_json config = read_json_file(path, size_t{1} << 20);
  const auto quantization = config.find("quantization_config");
  if (quantization != config.end() && !quantization->is_null()) {
    std::string method =
        quantization->is_object() ? quantization->value("quant_method", "quantised") : "quantised";
    if (method.size() <= 4)
      std::transform(method.begin(), method.end(), method.begin(), ::toupper);  // GPTQ, AWQ
    throw ModelError({path,
                      fmt::format("{} weights are not supported", printable(method)),
                      {},
                      "use the unquantised base with quantization: nf4"});
  }
  return config;
}

}  // namespace lora_dist
