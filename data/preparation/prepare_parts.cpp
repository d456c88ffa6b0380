// Preparation of the parts of a data set: which files, which folder, the parts by all ranks, the
// manifest by rank 0.
//
// Every collective lies in on_all_ranks, so an error on any rank ends the preparation on all of
// them with one text.
#include "data/preparation/prepare_parts.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/sha256.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/encoders/sample_encoder.hpp"
#include "data/io/files.hpp"
#include "data/preparation/part_builder.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr double kQuiet_s = 2;  // preparation that is done by then is not worth a line

SourceFiles find_same_sources(const PrepareRequest& request, Communicator& world) {
  SourceFiles files;
  const auto seen = on_all_ranks(world, [&] {
    files = find_sources(request.path, request.format, request.use);
    return fmt::format("{} {}", fmt::join(files.formats, " "), fmt::join(files.paths, " "));
  });
  for (size_t rank = 1; rank < seen.size(); ++rank) {
    if (seen[rank] != seen[0])
      throw DataError({.where = request.path,
                       .found = fmt::format("rank {} finds other files there than rank 0", rank),
                       .expected = {},
                       .fix = "put the data where all hosts see it"});
  }
  for (const std::string& note : files.notes) log_warning(note);
  return files;
}

/// SHA-256 of each file, the ranks sharing the work.
std::vector<std::string> hash_files(const SourceFiles& files, Communicator& world) {
  const auto shares = on_all_ranks(world, [&] {
    ordered_json hashes = ordered_json::array();
    for (size_t i = world.rank(); i < files.paths.size(); i += world.world_size())
      hashes.push_back(file_sha256(files.paths[i]));
    return hashes.dump();
  });
  std::vector<std::string> hashes(files.paths.size());
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    const auto share = ordered_json::parse(shares[rank]);
    for (size_t i = 0; i < share.size(); ++i) hashes[rank + i * shares.size()] = share[i];
  }
  return hashes;
}

int reading_version_of(const SourceFiles& files) {
  int version = 0;
  for (const std::string& format : files.formats)
    version = std::max(version, source_formats().at(format).reading_version);
  return version;
}

/// What the content of the parts depends on. Names of files are left out: moved data is the same
/// data.
ordered_json made_from(const SourceFiles& files, const std::vector<std::string>& hashes,
                       const SampleEncoder& encoder) {
  const bool alike =
      std::ranges::count(files.formats, files.formats.front()) == std::ssize(files.formats);
  ordered_json result = {
      {"data_format", alike ? ordered_json(files.formats.front()) : ordered_json(files.formats)},
      {"reading_version", reading_version_of(files)},
      {"source_sha256", hashes}};
  encoder.describe(result);
  result["records_per_part"] = kRecordsPerPart;
  result["format_version"] = part_format_of(encoder.schema());
  if (part_format_of(encoder.schema()) > 1) {  // before, there was one task
    result["task"] = encoder.schema().task;
    result["schema_version"] = encoder.schema().version;
  }
  return result;
}

/// The data are known by now, and nothing is built yet.
void identify(const PrepareRequest& request, const std::string& fingerprint, Communicator& world) {
  on_all_ranks(world, [&] {
    if (world.rank() == 0 && request.on_identified) request.on_identified(fingerprint);
    return std::string();
  });
}

class Preparation {
 public:
  Preparation(const PrepareRequest& request, SourceFiles files,
              const std::vector<std::string>& hashes, const SampleEncoder& encoder,
              Communicator& world)
      : request_(request), files_(std::move(files)), encoder_(encoder), world_(world) {
    manifest_.made_from = made_from(files_, hashes, encoder);
    manifest_.fingerprint = sha256_hex(manifest_.made_from.dump());
    folder_ = folder_of_parts(request.prepared_dir, manifest_.fingerprint);
  }

  PartsRequest run() {
    identify(request_, manifest_.fingerprint, world_);
    const std::string path = (fs::path(folder_) / "manifest.json").string();
    // Only rank 0 decides whether the folder is complete: another host may not see a new file yet.
    const std::string found =
        on_all_ranks(world_, [&] {
          return world_.rank() == 0 && fs::exists(path) ? read_file(path) : std::string();
        }).front();
    if (found.empty()) {
      build_parts();
      require_samples();
      on_all_ranks(world_, [&] {
        if (world_.rank() == 0) write_file_atomically(path, manifest_text(manifest_));
        return std::string();
      });
    } else {
      Manifest written = parse_manifest(found, path);
      require_same_origin(written, path);
      manifest_.parts = std::move(written.parts);
      manifest_.notes = std::move(written.notes);
      verify_parts();
    }
    for (const std::string& line : manifest_.notes.lines()) log_warning(line);
    return parts();
  }

 private:
  /// Rounds of one part per rank: a broken record ends the work of all ranks within a round.
  void build_parts() {
    std::unique_ptr<PartBuilder> builder;
    const auto start = std::chrono::steady_clock::now();
    bool end = false;
    for (int64_t round = 0; !end; ++round) {
      const auto outcomes = on_all_ranks(world_, [&] {
        if (!builder) builder = make_builder();
        return to_text(builder->build(round * world_.world_size() + world_.rank()));
      });
      for (const std::string& outcome : outcomes) end = take(ordered_json::parse(outcome)) || end;
      report_progress(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), end);
    }
  }

  std::unique_ptr<PartBuilder> make_builder() {
    make_folders(folder_);
    PartAttributes attributes;
    attributes.source_sha256 = sha256_hex(manifest_.made_from.at("source_sha256").dump());
    for (const std::string& name : encoder_.schema().origins)
      attributes.origins[name] = manifest_.made_from.at(name);
    attributes.max_seq_length = request_.max_seq_length;
    return std::make_unique<PartBuilder>(request_, files_, attributes, folder_, encoder_);
  }

  static std::string to_text(const BuiltPart& built) {
    return ordered_json{{"part", built.part ? part_to_json(*built.part) : ordered_json()},
                        {"end", built.end},
                        {"num_samples", built.num_samples},
                        {"num_without_labels", built.num_without_labels},
                        {"first_without_labels", built.first_without_labels},
                        {"notes", built.notes.to_json()}}
        .dump();
  }

  /// Adds what one rank built; outcomes come in the order of the parts. True where the data ends.
  bool take(const ordered_json& built) {
    if (!built.at("part").is_null()) manifest_.parts.push_back(part_from_json(built.at("part")));
    num_samples_ += built.at("num_samples").get<int64_t>();
    num_without_labels_ += built.at("num_without_labels").get<int64_t>();
    if (first_without_labels_.empty()) first_without_labels_ = built.at("first_without_labels");
    manifest_.notes.add(built.at("notes"));
    return built.at("end");
  }

  void report_progress(double elapsed_s, bool end) {
    if (elapsed_s < next_report_s_) return;
    log_info(fmt::format("preparing data: {} records, {} samples in {:.0f} s{}",
                         counted().num_records, counted().num_samples, elapsed_s,
                         end ? ", done" : ""));
    next_report_s_ = elapsed_s + 5 * kQuiet_s;
  }

  DatasetStats counted() const {
    DatasetStats stats;
    for (const PartSummary& part : manifest_.parts) {
      stats.num_records += part.num_records;
      stats.num_samples += part.num_samples;
      stats.num_cut += part.num_cut;
      stats.num_skipped += part.num_skipped;
    }
    return stats;
  }

  /// All ranks hold the same counts here, so they throw alike.
  void require_samples() const {
    const bool none = num_samples_ == 0;
    if (num_without_labels_ > 0 && (!request_.skip_broken_records || none)) {
      const bool was_cut = first_without_labels_.find("within max_seq_length") != std::string::npos;
      if (none)
        throw DataError(
            {.where = files_.paths.front(),
             .found = was_cut
                          ? fmt::format("none of {} samples has an answer within max_seq_length {}",
                                        num_without_labels_, request_.max_seq_length)
                          : fmt::format("none of {} samples has something to learn",
                                        num_without_labels_),
             .expected = {},
             .fix = was_cut ? "raise it" : "mark the answers to be learnt"});
      const size_t colon = first_without_labels_.find(": ");
      const std::string one = was_cut ? "raise it, shorten the record" : "mend the record";
      const std::string many = was_cut ? "raise it" : "mend them";
      throw DataError(
          {.where = first_without_labels_.substr(0, colon),
           .found = first_without_labels_.substr(colon + 2),
           .expected = {},
           .fix = num_without_labels_ == 1
                      ? one + ", or set data_errors: skip"
                      : fmt::format("{} samples are like it: {}, or set data_errors: skip",
                                    num_without_labels_, many)});
    }
    if (none)
      throw DataError({.where = request_.path,
                       .found = counted().num_skipped > 0 ? fmt::format("all {} records are broken",
                                                                        counted().num_skipped)
                                                          : "no records",
                       .expected = {},
                       .fix = "check train_data_dir and data_format"});
  }

  /// A folder is named by its fingerprint; one that was renamed or copied holds other data.
  void require_same_origin(const Manifest& written, const std::string& path) const {
    if (written.fingerprint == manifest_.fingerprint) return;
    std::vector<std::string> differences;
    for (const auto& [key, value] : manifest_.made_from.items()) {
      const auto other = written.made_from.find(key);
      if (other != written.made_from.end() && *other != value)
        differences.push_back(
            fmt::format("{} {}, this run has {}", key, other->dump(), value.dump()));
    }
    throw DataError({.where = path,
                     .found = differences.empty()
                                  ? "prepared from something else"
                                  : fmt::format("prepared with {}", fmt::join(differences, "; ")),
                     .expected = {},
                     .fix = "delete " + folder_ + ", or set another prepared_dir"});
  }

  void verify_parts() {
    on_all_ranks(world_, [&] {
      for (size_t i = world_.rank(); i < manifest_.parts.size(); i += world_.world_size())
        verify_part(folder_, manifest_.parts[i]);
      return std::string();
    });
  }

  PartsRequest parts() const {
    PartsRequest parts{
        .fingerprint = manifest_.fingerprint, .counted = counted(), .schema = encoder_.schema()};
    for (const PartSummary& part : manifest_.parts)
      parts.paths.push_back((fs::path(folder_) / part.file).string());
    return parts;
  }

  const PrepareRequest& request_;
  SourceFiles files_;
  const SampleEncoder& encoder_;
  Communicator& world_;
  Manifest manifest_;
  std::string folder_;
  int64_t num_samples_ = 0, num_without_labels_ = 0;
  std::string first_without_labels_;
  double next_report_s_ = kQuiet_s;
};

/// The user's own parts, read where they lie.
PartsRequest check_user_parts(const PrepareRequest& request, const SourceFiles& files,
                              const std::vector<std::string>& hashes, const SampleEncoder& encoder,
                              Communicator& world) {
  const auto unchecked = on_all_ranks(world, [&] {
    int64_t count = 0;
    for (size_t i = world.rank(); i < files.paths.size(); i += world.world_size())
      count += !encoder.check(*PartFile::open(files.paths[i], encoder.schema()));
    return std::to_string(count);
  });
  int64_t num_unchecked = 0;
  for (const std::string& count : unchecked) num_unchecked += std::stoll(count);
  if (num_unchecked > 0 && world.rank() == 0)
    log_warning(fmt::format("{}: {}", request.path,
                            encoder.warn_of_unchecked(num_unchecked, files.paths.size())));
  const ordered_json made_from = {{"source_sha256", hashes},
                                  {"max_seq_length", request.max_seq_length}};
  const std::string fingerprint = sha256_hex(made_from.dump());
  identify(request, fingerprint, world);
  return {.paths = files.paths,
          .fingerprint = fingerprint,
          .counted = {},
          .schema = encoder.schema(),
          .skip_without_labels = request.skip_broken_records};
}

}  // namespace

std::string folder_of_parts(const std::string& prepared_dir, const std::string& fingerprint) {
  return (fs::path(prepared_dir) / fingerprint.substr(0, 16)).string();
}

PartsRequest prepare_parts(const PrepareRequest& request, const SampleEncoder& encoder,
                           Communicator& world) {
  const SourceFiles files = find_same_sources(request, world);
  const std::vector<std::string> hashes = hash_files(files, world);
  if (files.is_prepared()) return check_user_parts(request, files, hashes, encoder, world);
  return Preparation(request, files, hashes, encoder, world).run();
}

}  // namespace lora_dist
