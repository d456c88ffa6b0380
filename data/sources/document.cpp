// A whole text file is one text, all of it learnt. What exceeds max_seq_length becomes further
// samples.
#include <utility>

#include "data/io/files.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {
namespace {

class DocumentSource : public Source {
 public:
  explicit DocumentSource(std::string path) : path_(std::move(path)) {}

  std::optional<Record> next() override {
    if (std::exchange(read_, true)) return std::nullopt;
    std::string text = read_file(path_);
    require_clean_text(text, path_, 1);
    if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
    Record record;
    record.text = trimmed(text);
    record.where = place(path_, 1);
    record.is_document = true;
    return record;
  }

 private:
  std::string path_;
  bool read_ = false;
};

}  // namespace

SourceFormat document_source() {
  return {.recognises_record = {},
          .recognises_text = {},
          .open = [](const std::string& path) -> std::unique_ptr<Source> {
            return std::make_unique<DocumentSource>(path);
          },
          .reading_version = 3};  // a carriage return alone ends a line
}

}  // namespace lora_dist
