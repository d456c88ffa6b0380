#include "data/preparation/part_builder.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"

namespace lora_dist {

std::optional<Record> RecordStream::next() {
  while (Source* source = current()) {
    if (std::optional<Record> record = source->next()) return record;
    source_.reset();
  }
  return std::nullopt;
}

bool RecordStream::skip() {
  try {
    while (Source* source = current()) {
      if (source->skip()) return true;
      source_.reset();
    }
    return false;
  } catch (const DataError&) {  // a file that cannot be opened counts as one broken record
    return true;
  }
}

Source* RecordStream::current() {
  if (!source_ && next_file_ < files_.paths.size()) {
    const size_t file = next_file_++;
    source_ = open_source(files_.paths[file], files_.formats[file]);
  }
  return source_.get();
}

PartBuilder::PartBuilder(const PrepareRequest& request, SourceFiles files, PartAttributes made_from,
                         std::string folder, const SampleEncoder& encoder)
    : request_(request),
      made_from_(std::move(made_from)),
      folder_(std::move(folder)),
      records_(std::move(files)),
      encoder_(encoder) {}

BuiltPart PartBuilder::build(int64_t number) {
  BuiltPart built;
  const int64_t first_record = number * kRecordsPerPart;
  if (!pass_over(first_record - next_record_)) {
    built.end = true;
    return built;
  }
  const std::string path =
      (std::filesystem::path(folder_) / fmt::format("part-{:04}.h5", number)).string();
  if (std::optional<PartSummary> finished = finished_part(path)) {
    built.end = !pass_over(finished->num_records) || finished->num_records < kRecordsPerPart;
    built.num_samples = finished->num_samples;
    built.part = std::move(finished);
    return built;
  }
  return build_anew(path);
}

/// False where the data ends before that many records.
bool PartBuilder::pass_over(int64_t num_records) {
  for (int64_t i = 0; i < num_records; ++i, ++next_record_)
    if (!records_.skip()) return false;
  return true;
}

/// A part under its final name is complete; it is taken where it was made from the same.
std::optional<PartSummary> PartBuilder::finished_part(const std::string& path) const {
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    PartAttributes attributes = PartFile::open(path, encoder_.schema())->attributes();
    attributes.num_records = attributes.num_cut = attributes.num_skipped = 0;
    if (attributes == made_from_) return summarise_part(path, encoder_.schema());
  } catch (const DataError& error) {
    log_warning(fmt::format("{}; it is built again", error.what()));
  }
  return std::nullopt;
}

BuiltPart PartBuilder::build_anew(const std::string& path) {
  BuiltPart built;
  PartContent content(encoder_.schema());
  PartAttributes counts = made_from_;
  while (counts.num_records < kRecordsPerPart && !built.end) {
    try {
      const std::optional<Record> record = records_.next();
      if (record) add_record(*record, content, counts, built);
      built.end = !record;
    } catch (const DataError& error) {
      if (!request_.skip_broken_records) throw;
      warn_of_skipped(error.what());
      ++counts.num_skipped;
    }
    if (!built.end) ++counts.num_records;
  }
  next_record_ += counts.num_records;
  built.num_samples = content.num_samples();
  const bool complete = built.num_without_labels == 0 || request_.skip_broken_records;
  if (counts.num_records == 0 || !complete) return built;
  write_part(path, counts, content);
  built.part = summarise_part(path, encoder_.schema());
  return built;
}

/// The first few say what is wrong with the data; the number of all stands in its statistics.
void PartBuilder::warn_of_skipped(const std::string& reason) {
  constexpr int kShown = 5;
  if (num_warnings_ < kShown) log_warning("skipped: " + reason);
  if (num_warnings_ == kShown) log_warning("more records are skipped; they are only counted");
  num_warnings_ = std::min(num_warnings_ + 1, kShown + 1);
}

void PartBuilder::add_record(const Record& record, PartContent& content, PartAttributes& counts,
                             BuiltPart& built) const {
  const EncodedRecord encoded = encoder_.encode(record);
  for (const auto& notes : {record.notes, encoded.notes})
    for (const std::string& note : notes) built.notes.add(note, record.where);
  counts.num_cut += encoded.cut;
  for (const Sample& sample : encoded.samples) {
    if (encoder_.schema().measure(view_of(sample)).loss_terms > 0) {
      content.add(sample);
      continue;
    }
    ++counts.num_skipped;
    if (built.num_without_labels++ > 0) continue;
    built.first_without_labels = record.where + ": " + encoder_.why_nothing_is_learnt(encoded);
  }
}

}  // namespace lora_dist
