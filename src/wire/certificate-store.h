#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/result.h"
#include "lib/secret.h"

/// Certificates by the names inside them, as the master hands them to login processes: one sealed
/// memfd that all of them map, so that thousands of names cost each process what it uses of them.
///
/// The bytes, numbers as 4 bytes little endian: a magic line; the number of names; for each name,
/// in rising order, where it begins, its length, and which pair it has; the number of pairs; for
/// each where its chain and its key begin and their lengths; then the texts.
namespace postern::wire {

/// A chain and its key, PEM text. Borrows from the store.
struct StoredCertificate {
  std::string_view chain;
  std::string_view key;
  bool operator==(const StoredCertificate&) const = default;
};

class CertificateStoreWriter {
 public:
  /// @param names  lower case; "*.example.org" is one label before the rest. A name may be added
  ///               with up to kMaxPairs pairs: RSA beside ECDSA
  void add(const std::vector<std::string>& names, std::string_view chain, std::string_view key);
  /// How many there would be.
  std::size_t size() const noexcept;
  /// The bytes that CertificateStore reads; an Error if they are more than it does.
  Result<WipingBuffer> finish();

 private:
  struct Name {
    std::string text;
    std::uint32_t pair = 0;
  };
  struct Pair {
    std::uint32_t chain_at = 0, chain_size = 0, key_at = 0, key_size = 0;  // in texts_
  };
  std::vector<Name> names_;
  std::vector<Pair> pairs_;
  std::size_t name_bytes_ = 0;
  WipingBuffer texts_;
};

class CertificateStore {
 public:
  static constexpr std::size_t kMaxPairs = 2;  // of one name
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 30U;

  CertificateStore() = default;
  /// @param bytes  borrowed: they outlive the store and what it gives
  /// @return an Error unless every place it names is inside, and names are in order
  static Result<CertificateStore> parse(std::string_view bytes);
  /// The certificates for a host name: those that name it, else those with a wildcard for it.
  /// @param name  lower case
  std::vector<StoredCertificate> find(std::string_view name) const;
  std::size_t names() const noexcept { return names_; }

 private:
  std::string_view name_at(std::size_t index) const noexcept;
  StoredCertificate pair_at(std::size_t index) const noexcept;
  std::vector<StoredCertificate> exactly(std::string_view name) const;

  std::string_view bytes_;
  std::size_t names_ = 0;
  std::size_t pairs_ = 0;
};

}  // namespace postern::wire
