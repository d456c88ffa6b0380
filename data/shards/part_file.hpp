// One part of a prepared data set: samples one after the other in an HDF5 file (format 1).
//
//   /tokens     uint16 where every id fits, else uint32      [token]
//   /loss_mask  uint8, 1 where the token is learnt            [token]
//   /offsets    uint64, first token of each sample, and end   [sample + 1]
//
// Chunked, Fletcher-32, v1.10 file format: a flipped bit is an error and never another token.
// Attributes name what the part was made from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shards/h5.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

inline constexpr int64_t kPartFormatVersion = 1;

struct PartAttributes {
  int64_t format_version = kPartFormatVersion;
  std::string tokenizer_sha256;
  std::string template_sha256;
  std::string source_sha256;
  int64_t max_seq_length = 0;
  int64_t num_records = 0;  // read for this part, skipped ones included
  int64_t num_cut = 0;      // samples cut to max_seq_length
  int64_t num_skipped = 0;  // broken records

  bool operator==(const PartAttributes&) const = default;
};

/// Samples collected in memory before they are written.
struct PartContent {
  std::vector<TokenId> tokens;
  std::vector<uint8_t> loss_mask;
  std::vector<uint64_t> offsets = {0};

  void add(const Tokens& sample);
  int64_t num_samples() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

/// Writes under a temporary name, fsync, rename, fsync of the folder. Errors  StorageError.
void write_part(const std::string& path, const PartAttributes& attributes,
                const PartContent& content, int64_t vocab_size);

/// Whether the file begins with the signature of HDF5.
bool is_hdf5(const std::string& path);

/// A part opened for reading. Thread-safe.
class PartFile {
 public:
  /// Checks the whole layout (part_layout.hpp) before anything of its size is allocated.
  /// Errors  DataError: not such a file, damaged, of a newer format. StorageError: cannot be
  /// opened.
  static std::unique_ptr<PartFile> open(const std::string& path);

  const std::string& path() const { return task_.path; }
  /// Empty or 0 where the file does not say.
  const PartAttributes& attributes() const { return attributes_; }
  /// First token of each sample, and the end of the last.
  const std::vector<uint64_t>& offsets() const { return offsets_; }
  int64_t num_samples() const { return static_cast<int64_t>(offsets_.size()) - 1; }

  /// Tokens [begin, end). Errors  DataError: a chunk does not match its checksum.
  std::vector<TokenId> read_tokens(uint64_t begin, uint64_t end) const;
  std::vector<uint8_t> read_loss_mask(uint64_t begin, uint64_t end) const;

 private:
  explicit PartFile(const std::string& path);
  void read_attributes();

  H5Task task_;
  H5Id file_, tokens_, loss_mask_;
  PartAttributes attributes_;
  std::vector<uint64_t> offsets_;
};

}  // namespace lora_dist
