// SHA-256 (libcrypto), the hash of every fingerprint in the contract.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lora_dist {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* bytes, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// Ends the computation; 64 lower-case hex digits.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view text);

}  // namespace lora_dist
