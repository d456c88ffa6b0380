#include "data/weights/base_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <tuple>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// "organisation/model" is a name of the hub; nothing is downloaded here.
std::string how_to_get(const std::string& model_dir) {
  const bool is_hub_name = std::count(model_dir.begin(), model_dir.end(), '/') == 1 &&
                           model_dir.find_first_of("./~") == model_dir.find('/') &&
                           !model_dir.starts_with('/') && !model_dir.ends_with('/');
  const std::string folder = "give the folder of a downloaded model";
  return is_hub_name ? fmt::format("{}: hf download {} --local-dir models/{}", folder, model_dir,
                                   model_dir.substr(model_dir.find('/') + 1))
                     : folder;
}

void require_folder(const std::string& model_dir) {
  if (fs::is_directory(model_dir)) return;
  if (!fs::exists(model_dir))
    throw ModelError({model_dir, "no such folder", {}, how_to_get(model_dir)});
  throw ModelError({model_dir, "is a file", "the folder of a base model", {}});
}

/// "'a', 'b', 'c', ...", at most three of them.
std::string first_names(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 3); ++i)
    shown.push_back(fmt::format("'{}'", printable(names[i], 256)));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > shown.size() ? ", ..." : "");
}

/// All tensors of one or more mapped files under one numbering, in name order.
class MappedWeights final : public WeightSource {
 public:
  /// Which of the files an index gives a tensor to.
  using FileOf = std::map<std::string, size_t>;

  /// A tensor that several files hold is the one of the file that `file_of` names, else the last.
  MappedWeights(std::string location, const std::vector<std::string>& paths,
                const FileOf& file_of = {})
      : location_(std::move(location)) {
    struct Entry {
      WeightInfo info;
      Place place;
    };
    std::vector<Entry> entries;
    std::vector<std::string> repeated;
    for (const std::string& path : paths) {
      files_.push_back(SafetensorsFile::open(path));
      const auto& weights = files_.back()->weights();
      for (size_t i = 0; i < weights.size(); ++i)
        entries.push_back({weights[i], {files_.size() - 1, i}});
    }
    const auto is_chosen = [&](const Entry& entry) {
      const auto chosen = file_of.find(entry.info.name);
      return chosen != file_of.end() && chosen->second == entry.place.file;
    };
    // Of one name, the entry that counts comes last.
    std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
      return std::tuple(std::string_view(a.info.name), is_chosen(a), a.place.file) <
             std::tuple(std::string_view(b.info.name), is_chosen(b), b.place.file);
    });
    for (Entry& entry : entries) {
      if (!weights_.empty() && weights_.back().name == entry.info.name) {
        repeated.push_back(entry.info.name);
        weights_.back() = std::move(entry.info);
        places_.back() = entry.place;
        continue;
      }
      weights_.push_back(std::move(entry.info));
      places_.push_back(entry.place);
    }
    if (!repeated.empty())
      log_warning(fmt::format("{}: in several files: {}; {}'s from {} is used", location_,
                              first_names(repeated), printable(repeated.front(), 256),
                              files_[place_of(repeated.front()).file]->path()));
  }

  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override {
    const Place place = places_.at(index);
    return files_[place.file]->tensor(place.index);
  }
  void release(size_t index) override {
    const Place place = places_.at(index);
    files_[place.file]->release(place.index);
  }
  bool contains(const std::string& name) const {
    return std::any_of(files_.begin(), files_.end(),
                       [&](const auto& file) { return file->contains(name); });
  }

 private:
  struct Place {
    size_t file, index;
  };
  Place place_of(const std::string& name) const {
    const auto found = std::lower_bound(
        weights_.begin(), weights_.end(), name,
        [](const WeightInfo& weight, const std::string& wanted) { return weight.name < wanted; });
    return places_[static_cast<size_t>(found - weights_.begin())];
  }
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
  if (!fs::exists(path_in(model_dir, name)))
    throw ModelError(
        {index_path, fmt::format("'{}' does not exist", printable(name)), {}, "download again"});
}

std::unique_ptr<WeightSource> open_indexed(const std::string& model_dir) {
  const std::string index_path = path_in(model_dir, kIndexFile);
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
    paths.push_back(path_in(model_dir, name));
  }

  MappedWeights::FileOf file_of;
  for (const auto& [tensor, name] : map->items()) {
    const auto file = std::lower_bound(names.begin(), names.end(), name.get<std::string>());
    file_of[tensor] = static_cast<size_t>(file - names.begin());
  }
  auto source = std::make_unique<MappedWeights>(model_dir, paths, file_of);
  std::vector<std::string> lacking;
  for (const auto& [tensor, file] : file_of)
    if (!source->contains(tensor)) lacking.push_back(tensor);
  // One that the model needs is missed by name when its layers look for it.
  if (!lacking.empty())
    log_warning(fmt::format("{}: names {} tensor{} that no file holds: {}", index_path,
                            lacking.size(), lacking.size() == 1 ? "" : "s", first_names(lacking)));
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
  const std::string single = path_in(model_dir, kSingleFile);
  if (fs::exists(single)) return std::make_unique<MappedWeights>(single, std::vector{single});
  if (fs::exists(path_in(model_dir, kIndexFile))) return open_indexed(model_dir);
  fail_without_weights(model_dir);
}

nlohmann::ordered_json read_model_config(const std::string& model_dir) {
  require_folder(model_dir);
  const std::string path = path_in(model_dir, "config.json");
  if (!fs::exists(path))
    throw ModelError(
        {folder_label(model_dir), "no config.json", "a model folder in Hugging Face layout", {}});
  nlohmann::ordered_json config = read_json_file(path, size_t{1} << 20);
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto quantization = config.find(key);
    if (quantization == config.end() || quantization->is_null()) continue;
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
