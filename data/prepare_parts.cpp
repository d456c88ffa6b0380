// Preparation of the parts of a data set: which files, which folder, the parts by all ranks, the
// manifest by rank 0.
//
// Every collective lies in on_all_ranks, so an error on any rank ends the preparation on all of
// them with one text.
#include "data/prepare_parts.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "core/all_ranks.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/sha256.hpp"
#include "data/files.hpp"
#include "data/part_builder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kReadingVersion = 3;  // another one where the same files give other samples
constexpr double kQuiet_s = 2;      // preparation that is done by then is not worth a line

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

/// What the content of the parts depends on. Names of files are left out: moved data is the same
/// data.
ordered_json made_from(const PrepareRequest& request, const SourceFiles& files,
                       const std::vector<std::string>& hashes, const Tokenizer* tokenizer,
                       const PromptTemplate* prompt_template) {
  const bool alike =
      std::ranges::count(files.formats, files.formats.front()) == std::ssize(files.formats);
  return {
      {"data_format", alike ? ordered_json(files.formats.front()) : ordered_json(files.formats)},
      {"reading_version", kReadingVersion},
      {"source_sha256", hashes},
      {"tokenizer_sha256", tokenizer != nullptr ? tokenizer->sha256() : ""},
      {"end_id", tokenizer != nullptr ? tokenizer->end_id() : -1},
      {"template", prompt_template != nullptr ? prompt_template->name() : ""},
      {"template_sha256", prompt_template != nullptr ? prompt_template->sha256() : ""},
      {"max_seq_length", request.max_seq_length},
      {"train_on_prompt", request.train_on_prompt},
      {"skip_broken_records", request.skip_broken_records},
      {"vocab_size", request.vocab_size},
      {"records_per_part", kRecordsPerPart},
      {"format_version", kPartFormatVersion}};
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
              const std::vector<std::string>& hashes, const Tokenizer* tokenizer,
              const PromptTemplate* prompt_template, Communicator& world)
      : request_(request),
        files_(std::move(files)),
        tokenizer_(tokenizer),
        prompt_template_(prompt_template),
        world_(world) {
    manifest_.made_from = made_from(request, files_, hashes, tokenizer, prompt_template);
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
    attributes.tokenizer_sha256 = manifest_.made_from.at("tokenizer_sha256");
    attributes.template_sha256 = manifest_.made_from.at("template_sha256");
    attributes.max_seq_length = request_.max_seq_length;
    return std::make_unique<PartBuilder>(request_, files_, attributes, folder_, tokenizer_,
                                         prompt_template_);
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
    PartsRequest parts{.fingerprint = manifest_.fingerprint,
                       .counted = counted(),
                       .max_seq_length = request_.max_seq_length};
    for (const PartSummary& part : manifest_.parts)
      parts.paths.push_back((fs::path(folder_) / part.file).string());
    return parts;
  }

  const PrepareRequest& request_;
  SourceFiles files_;
  const Tokenizer* tokenizer_;
  const PromptTemplate* prompt_template_;
  Communicator& world_;
  Manifest manifest_;
  std::string folder_;
  int64_t num_samples_ = 0, num_without_labels_ = 0;
  std::string first_without_labels_;
  double next_report_s_ = kQuiet_s;
};

[[noreturn]] void made_otherwise(const std::string& path, const std::string& found,
                                 const std::string& expected, const std::string& fix) {
  throw DataError({.where = path, .found = "made with " + found, .expected = expected, .fix = fix});
}

/// A part that a user brings names what it was made with; the run has to have the same.
void require_same_origin(const std::string& path, const PartAttributes& made_with,
                         const PrepareRequest& request, const Tokenizer* tokenizer,
                         const PromptTemplate* prompt_template) {
  if (tokenizer != nullptr && !made_with.tokenizer_sha256.empty() &&
      made_with.tokenizer_sha256 != tokenizer->sha256())
    made_otherwise(path, "another tokenizer", "that of the base model",
                   "prepare the data again with this base_model");
  if (!made_with.template_sha256.empty() && prompt_template != nullptr &&
      !lays_out_as(*prompt_template, made_with.template_sha256, *tokenizer))
    made_otherwise(path, "another template",
                   fmt::format("that of this run, {}", prompt_template->name()),
                   "set template as it was then, or prepare the data again");
  if (made_with.max_seq_length > 0 && made_with.max_seq_length != request.max_seq_length)
    made_otherwise(
        path, fmt::format("max_seq_length {}", made_with.max_seq_length),
        fmt::format("{}, that of this run", request.max_seq_length),
        fmt::format("set max_seq_length: {}, or prepare the data again", made_with.max_seq_length));
}

/// Its ids are checked too: a file from elsewhere may say anything. False where nothing tells
/// which tokenizer made it, or there is none to compare with.
bool require_usable_part(const std::string& path, const PrepareRequest& request,
                         const Tokenizer* tokenizer, const PromptTemplate* prompt_template) {
  const std::unique_ptr<PartFile> file = PartFile::open(path);
  require_same_origin(path, file->attributes(), request, tokenizer, prompt_template);
  constexpr uint64_t kTokensAtOnce = uint64_t{1} << 20;
  const uint64_t num_tokens = file->offsets().back();
  for (uint64_t begin = 0; begin < num_tokens; begin += kTokensAtOnce) {
    const std::vector<TokenId> ids =
        file->read_tokens(begin, std::min(begin + kTokensAtOnce, num_tokens));
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < request.vocab_size) continue;
      throw DataError({.where = path,
                       .found = fmt::format("/tokens[{}] = {}, the vocabulary has {}", begin + i,
                                            ids[i], request.vocab_size),
                       .expected = {},
                       .fix = {}});
    }
  }
  return tokenizer != nullptr && !file->attributes().tokenizer_sha256.empty();
}

/// The user's own parts, read where they lie.
PartsRequest check_user_parts(const PrepareRequest& request, const SourceFiles& files,
                              const std::vector<std::string>& hashes, const Tokenizer* tokenizer,
                              const PromptTemplate* prompt_template, Communicator& world) {
  const auto unnamed = on_all_ranks(world, [&] {
    int64_t count = 0;
    for (size_t i = world.rank(); i < files.paths.size(); i += world.world_size())
      count += !require_usable_part(files.paths[i], request, tokenizer, prompt_template);
    return std::to_string(count);
  });
  int64_t num_unnamed = 0;
  for (const std::string& count : unnamed) num_unnamed += std::stoll(count);
  if (num_unnamed > 0 && world.rank() == 0)
    log_warning(fmt::format(
        "{}: {}; only the ids were checked against the vocabulary", request.path,
        tokenizer == nullptr ? "the base model has no tokenizer.json to compare with"
                             : fmt::format("{} of {} parts do not say which tokenizer made them",
                                           num_unnamed, files.paths.size())));
  const ordered_json made_from = {{"source_sha256", hashes},
                                  {"max_seq_length", request.max_seq_length}};
  const std::string fingerprint = sha256_hex(made_from.dump());
  identify(request, fingerprint, world);
  return {.paths = files.paths,
          .fingerprint = fingerprint,
          .counted = {},
          .max_seq_length = request.max_seq_length,
          .skip_without_labels = request.skip_broken_records};
}

}  // namespace

std::string folder_of_parts(const std::string& prepared_dir, const std::string& fingerprint) {
  return (fs::path(prepared_dir) / fingerprint.substr(0, 16)).string();
}

PartsRequest prepare_parts(const PrepareRequest& request, const Tokenizer* tokenizer,
                           const PromptTemplate* prompt_template, Communicator& world) {
  const SourceFiles files = find_same_sources(request, world);
  const std::vector<std::string> hashes = hash_files(files, world);
  if (files.is_prepared())
    return check_user_parts(request, files, hashes, tokenizer, prompt_template, world);
  return Preparation(request, files, hashes, tokenizer, prompt_template, world).run();
}

}  // namespace lora_dist
