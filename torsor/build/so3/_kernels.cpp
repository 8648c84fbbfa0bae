// Multilinear forms of irreps on a CPU, vectorised over channels, driven by tables of their non-zero coefficients.
//
// products:    z_o = sum over runs of F_f G_g (sum over entries of c S_s), channel by channel. Every derivative of such
//              a form is one of the same kind with the roles exchanged, so this one loop serves all orders.
// convolve:    messages along edges, z_dst += w (x_src M(Y)), the matrix M of an edge shared by all channels.
// convolve_back: the three derivatives of <g, z> of the same.
// relayout:    channels before components, or components before channels.

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif

namespace {

using i64 = std::int64_t;
using i32 = std::int32_t;

template <class T> struct Wide { typedef T type __attribute__((vector_size(WIDTH))); };
template <class T> struct Loose { typedef T type __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias)); };
template <class T> struct Quad { typedef T type __attribute__((vector_size(16), aligned(sizeof(T)), may_alias)); };

template <class V, class T> inline V load(const T* p) {
  if constexpr (sizeof(V) == sizeof(T)) return *p;
  else return (V)(*(const typename Loose<T>::type*)p);
}
template <class V, class T> inline void store(T* p, V v) {
  if constexpr (sizeof(V) == sizeof(T)) *p = v;
  else *(typename Loose<T>::type*)p = v;
}

// ---- transposition of tiles: 16 bytes of components by one vector of channels ----

template <class V, std::size_t... I> inline V low(V a, V b, std::index_sequence<I...>) {
  constexpr int n = sizeof...(I), q = 16 / (sizeof(V) / n);
  return __builtin_shufflevector(a, b, (int)(I / q * q + (I % q) / 2 + (I % 2) * n)...);
}
template <class V, std::size_t... I> inline V high(V a, V b, std::index_sequence<I...>) {
  constexpr int n = sizeof...(I), q = 16 / (sizeof(V) / n);
  return __builtin_shufflevector(a, b, (int)(I / q * q + (I % q) / 2 + q / 2 + (I % 2) * n)...);
}

template <class T, std::size_t... I> inline auto joined(T a, T b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, (int)I...);
}
template <std::size_t from, class V, std::size_t... I> inline auto part(V v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, (int)(from + I)...);
}

template <class T> struct Tile {
  using V = typename Wide<T>::type;
  using Q = typename Quad<T>::type;
  static constexpr int W = WIDTH / sizeof(T), q = 16 / sizeof(T), J = WIDTH / 16;
  using Index = std::make_index_sequence<W>;

  static inline void turn(V* r) {
    if constexpr (q == 4) {
      V a = low(r[0], r[2], Index{}), b = low(r[1], r[3], Index{});
      V c = high(r[0], r[2], Index{}), d = high(r[1], r[3], Index{});
      r[0] = low(a, b, Index{}), r[1] = high(a, b, Index{}), r[2] = low(c, d, Index{}), r[3] = high(c, d, Index{});
    } else {
      V a = low(r[0], r[1], Index{}), b = high(r[0], r[1], Index{});
      r[0] = a, r[1] = b;
    }
  }
  // rows of q components, `pitch` apart, to q vectors of channels `out_pitch` apart
  static inline void read(const T* p, i64 pitch, T* out, i64 out_pitch) {
    V r[q];
    for (int i = 0; i < q; ++i) r[i] = row(p + i * pitch, q * pitch);
    turn(r);
    for (int i = 0; i < q; ++i) store<V>(out + i * out_pitch, r[i]);
  }
  static inline void write(const T* in, i64 in_pitch, T* p, i64 pitch) {
    V r[q];
    for (int i = 0; i < q; ++i) r[i] = load<V>(in + i * in_pitch);
    turn(r);
    split(r, p, pitch, std::make_index_sequence<J>{});
  }
  typedef T P __attribute__((vector_size(16)));
  static inline P quad(const T* p) { return (P)*(const Q*)p; }
  // 16 bytes from each of J places
  static inline V row(const T* p, i64 pitch) {
    if constexpr (J == 1) return (V)quad(p);
    else if constexpr (J == 2) return (V)joined(quad(p), quad(p + pitch), Index{});
    else {
      using Half = std::make_index_sequence<W / 2>;
      return (V)joined(joined(quad(p), quad(p + pitch), Half{}), joined(quad(p + 2 * pitch), quad(p + 3 * pitch), Half{}), Index{});
    }
  }
  template <std::size_t... j> static inline void split(const V* r, T* p, i64 pitch, std::index_sequence<j...>) {
    (one<j>(r, p + j * q * pitch, pitch), ...);
  }
  template <std::size_t j> static inline void one(const V* r, T* p, i64 pitch) {
    for (int i = 0; i < q; ++i) *(Q*)(p + i * pitch) = (Q)part<j * q>(r[i], std::make_index_sequence<q>{});
  }
};

// N channels of n components, channel by channel at p, into rows of N channels; `room` elements may be read from p
template <class T, int N> void gather(const T* p, i64 n, T* out, i64 room) {
  using t = Tile<T>;
  for (int k = 0; k < N; k += t::W) {
    const T* from = p + k * n;
    if (n == 1) {
      store<typename t::V>(out + k, load<typename t::V>(from));
    } else if (n >= t::q) {
      for (i64 c = 0; c < n; c += t::q) {
        i64 at = c + t::q <= n ? c : n - t::q;
        t::read(from + at, n, out + at * N + k, N);
      }
    } else if ((k + t::W - 1) * n + t::q <= room) {
      T spare[t::q * t::W];
      t::read(from, n, spare, t::W);
      std::memcpy(out + k, spare, sizeof(T) * t::W);
      for (i64 c = 1; c < n; ++c) std::memcpy(out + c * N + k, spare + c * t::W, sizeof(T) * t::W);
    } else {
      for (i64 c = 0; c < n; ++c)
        for (int u = 0; u < t::W; ++u) out[c * N + k + u] = from[u * n + c];
    }
  }
}

template <class T, int N> void scatter(const T* in, i64 n, T* p) {
  using t = Tile<T>;
  for (int k = 0; k < N; k += t::W) {
    T* to = p + k * n;
    if (n == 1) {
      store<typename t::V>(to, load<typename t::V>(in + k));
    } else if (n >= t::q) {
      for (i64 c = 0; c < n; c += t::q) {
        i64 at = c + t::q <= n ? c : n - t::q;
        t::write(in + at * N + k, N, to + at, n);
      }
    } else {
      for (int u = 0; u < t::W; ++u)
        for (i64 c = 0; c < n; ++c) to[u * n + c] = in[c * N + k + u];
    }
  }
}

// ---- products by channel ----

struct Leg {  // how one tensor is stored
  void* data;
  i64 row_stride, numel, blocks, components;
  const i64* block;  // (offset, n, channel stride, component stride) for each block
};
struct Form {
  i64 outputs;
  const i32 *run_start, *run_f, *run_g, *entry_start, *entry_s;
  const void* coefficient;
};

template <class T, int N> void read(const Leg& leg, i64 row, i64 u, i64 lanes, T* out) {
  const T* base = (const T*)leg.data;
  for (i64 b = 0; b < leg.blocks; ++b) {
    const i64 *k = leg.block + 4 * b, n = k[1], by_channel = k[2], by_component = k[3];
    i64 start = row * leg.row_stride + k[0] + u * by_channel;
    const T* p = base + start;
    if (lanes == N && by_channel == n && by_component == 1) {
      gather<T, N>(p, n, out, leg.numel - start);
    } else if (lanes == N && by_channel == 1) {
      for (i64 c = 0; c < n; ++c) std::memcpy(out + c * N, p + c * by_component, N * sizeof(T));
    } else {
      for (i64 c = 0; c < n; ++c)
        for (i64 v = 0; v < N; ++v) out[c * N + v] = v < lanes ? p[v * by_channel + c * by_component] : T(0);
    }
    out += n * N;
  }
}

template <class T, int N> void write(const Leg& leg, i64 row, i64 u, i64 lanes, const T* in) {
  T* base = (T*)leg.data;
  for (i64 b = 0; b < leg.blocks; ++b) {
    const i64 *k = leg.block + 4 * b, n = k[1], by_channel = k[2], by_component = k[3];
    T* p = base + row * leg.row_stride + k[0] + u * by_channel;
    if (lanes == N && by_channel == n && by_component == 1) {
      scatter<T, N>(in, n, p);
    } else if (lanes == N && by_channel == 1) {
      for (i64 c = 0; c < n; ++c) std::memcpy(p + c * by_component, in + c * N, N * sizeof(T));
    } else {
      for (i64 c = 0; c < n; ++c)
        for (i64 v = 0; v < lanes; ++v) p[v * by_channel + c * by_component] = in[c * N + v];
    }
    in += n * N;
  }
}

template <class T, int K, bool HasG> void evaluate(const Form& form, const T* F, const T* G, const T* S, T* O) {
  using V = typename Wide<T>::type;
  constexpr int W = WIDTH / sizeof(T), N = K * W;
  const T* c = (const T*)form.coefficient;
  for (i64 o = 0; o < form.outputs; ++o) {
    V acc[K];
    for (int k = 0; k < K; ++k) acc[k] = V{};
    for (i32 r = form.run_start[o]; r < form.run_start[o + 1]; ++r) {
      i32 e = form.entry_start[r], end = form.entry_start[r + 1];
      V m[K];
      {
        const T* s = S + (i64)form.entry_s[e] * N;
        for (int k = 0; k < K; ++k) m[k] = c[e] * load<V>(s + k * W);
      }
      for (++e; e < end; ++e) {
        const T* s = S + (i64)form.entry_s[e] * N;
        for (int k = 0; k < K; ++k) m[k] += c[e] * load<V>(s + k * W);
      }
      const T* f = F + (i64)form.run_f[r] * N;
      if constexpr (HasG) {
        const T* g = G + (i64)form.run_g[r] * N;
        for (int k = 0; k < K; ++k) m[k] *= load<V>(g + k * W);
      }
      for (int k = 0; k < K; ++k) acc[k] += load<V>(f + k * W) * m[k];
    }
    for (int k = 0; k < K; ++k) store<V>(O + o * N + k * W, acc[k]);
  }
}

template <class T, int K, class Evaluate> void products(const Evaluate& evaluate, const Leg* legs, bool has_g, i64 rows, i64 channels, int threads) {
  constexpr int N = K * WIDTH / sizeof(T);
  const Leg &F = legs[0], &S = legs[1], &G = legs[2], &O = legs[3];
  i64 pieces = (channels + N - 1) / N, jobs = rows * pieces;
  i64 size = (F.components + S.components + (has_g ? G.components : 0) + O.components) * N;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> room(size + WIDTH / sizeof(T));
    T* f = (T*)(((std::uintptr_t)room.data() + WIDTH - 1) / WIDTH * WIDTH);
    T *s = f + F.components * N, *o = s + S.components * N, *g = o + O.components * N;
#pragma omp for schedule(static)
    for (i64 job = 0; job < jobs; ++job) {
      i64 row = job / pieces, u = job % pieces * N, lanes = channels - u < N ? channels - u : N;
      read<T, N>(F, row, u, lanes, f);
      read<T, N>(S, row, u, lanes, s);
      if (has_g) read<T, N>(G, row, u, lanes, g);
      evaluate(f, g, s, o);
      write<T, N>(O, row, u, lanes, o);
    }
  }
}

template <class T, int K> void table_products(const Form& form, const Leg* legs, bool has_g, i64 rows, i64 channels, int threads) {
  auto with_g = [&](const T* f, const T* g, const T* s, T* o) { evaluate<T, K, true>(form, f, g, s, o); };
  auto without = [&](const T* f, const T* g, const T* s, T* o) { evaluate<T, K, false>(form, f, g, s, o); };
  if (has_g) products<T, K>(with_g, legs, has_g, rows, channels, threads);
  else products<T, K>(without, legs, has_g, rows, channels, threads);
}

template <class T> void any_products(const Form& form, const Leg* legs, bool has_g, i64 rows, i64 channels, int threads) {
  constexpr int W = WIDTH / sizeof(T);
  if (channels <= W) table_products<T, 1>(form, legs, has_g, rows, channels, threads);
  else if (channels <= 2 * W) table_products<T, 2>(form, legs, has_g, rows, channels, threads);
  else table_products<T, 4>(form, legs, has_g, rows, channels, threads);
}

// ---- messages along edges ----

struct Path {  // channels, components of x and z, where x, z and w start, where the matrix starts
  i64 channels, d1, d3, x, z, w, m;
};
struct Messages {
  i64 paths, matrix, entries, dim_x, dim_y, dim_w, dim_z;
  const Path* path;
  const i32 *entry_m, *entry_y;  // of the matrix and of Y
  const void* coefficient;
};

template <class T> inline void matrices(const Messages& f, const T* y, T* M) {
  const T* c = (const T*)f.coefficient;
  std::memset(M, 0, f.matrix * sizeof(T));
  for (i64 e = 0; e < f.entries; ++e) M[f.entry_m[e]] += c[e] * y[f.entry_y[e]];
}

// one path for K vectors of channels from u on
template <class T, class V, int K, int D> inline void message(const Path& p, i64 u, const T* x, const T* w, const T* M, T* z) {
  constexpr int W = sizeof(V) / sizeof(T);
  V xw[D][K];
  for (int k = 0; k < K; ++k) {
    V weight = load<V>(w + p.w + u + k * W);
    for (int a = 0; a < D; ++a) xw[a][k] = weight * load<V>(x + p.x + a * p.channels + u + k * W);
  }
  for (i64 b = 0; b < p.d3; ++b) {
    T* to = z + p.z + b * p.channels + u;
    V acc[K];
    for (int k = 0; k < K; ++k) acc[k] = load<V>(to + k * W);
    for (int a = 0; a < D; ++a)
      for (int k = 0; k < K; ++k) acc[k] += M[p.m + a * p.d3 + b] * xw[a][k];
    for (int k = 0; k < K; ++k) store<V>(to + k * W, acc[k]);
  }
}

template <class T, int D> void message_path(const Path& p, const T* x, const T* w, const T* M, T* z) {
  using V = typename Wide<T>::type;
  constexpr int W = WIDTH / sizeof(T);
  i64 u = 0;
  for (; u + 4 * W <= p.channels; u += 4 * W) message<T, V, 4, D>(p, u, x, w, M, z);
  for (; u + W <= p.channels; u += W) message<T, V, 1, D>(p, u, x, w, M, z);
  for (; u < p.channels; ++u) message<T, T, 1, D>(p, u, x, w, M, z);
}

template <class T, class V> inline T total(V v) {
  if constexpr (sizeof(V) == sizeof(T)) return v;
  else {
    constexpr int W = sizeof(V) / sizeof(T);
    T s = v[0];
    for (int i = 1; i < W; ++i) s += v[i];
    return s;
  }
}

template <class T, class V, int K, int D>
inline void message_back(const Path& p, i64 u, const T* x, const T* w, const T* M, const T* g, T* gx, T* gw, T* gM, V* sums) {
  constexpr int W = sizeof(V) / sizeof(T);
  V weight[K], by_w[K];
  V xs[D][K];
  for (int k = 0; k < K; ++k) {
    weight[k] = load<V>(w + p.w + u + k * W), by_w[k] = V{};
    for (int a = 0; a < D; ++a) xs[a][k] = load<V>(x + p.x + a * p.channels + u + k * W);
  }
  if (gx || gw)
    for (int a = 0; a < D; ++a) {
      V t[K];
      for (int k = 0; k < K; ++k) t[k] = V{};
      for (i64 b = 0; b < p.d3; ++b)
        for (int k = 0; k < K; ++k) t[k] += M[p.m + a * p.d3 + b] * load<V>(g + p.z + b * p.channels + u + k * W);
      if (gx)
        for (int k = 0; k < K; ++k) {
          T* to = gx + p.x + a * p.channels + u + k * W;
          store<V>(to, load<V>(to) + weight[k] * t[k]);
        }
      for (int k = 0; k < K; ++k) by_w[k] += xs[a][k] * t[k];
    }
  if (gw)
    for (int k = 0; k < K; ++k) store<V>(gw + p.w + u + k * W, by_w[k]);
  if (gM) {
    for (int a = 0; a < D; ++a)
      for (int k = 0; k < K; ++k) xs[a][k] *= weight[k];
    for (i64 b = 0; b < p.d3; ++b) {
      V gs[K];
      for (int k = 0; k < K; ++k) gs[k] = load<V>(g + p.z + b * p.channels + u + k * W);
      for (int a = 0; a < D; ++a) {
        V s = sums[a * p.d3 + b];
        for (int k = 0; k < K; ++k) s += xs[a][k] * gs[k];
        sums[a * p.d3 + b] = s;
      }
    }
  }
}

template <class T, int D>
void message_path_back(const Path& p, const T* x, const T* w, const T* M, const T* g, T* gx, T* gw, T* gM) {
  using V = typename Wide<T>::type;
  constexpr int W = WIDTH / sizeof(T);
  i64 u = 0, n = D * p.d3;
  V wide[D * 64];
  T narrow[D * 64];
  if (gM) {
    for (i64 i = 0; i < n; ++i) wide[i] = V{}, narrow[i] = T(0);
  }
  for (; u + 4 * W <= p.channels; u += 4 * W) message_back<T, V, 4, D>(p, u, x, w, M, g, gx, gw, gM, wide);
  for (; u + W <= p.channels; u += W) message_back<T, V, 1, D>(p, u, x, w, M, g, gx, gw, gM, wide);
  for (; u < p.channels; ++u) message_back<T, T, 1, D>(p, u, x, w, M, g, gx, gw, gM, narrow);
  if (gM)
    for (i64 i = 0; i < n; ++i) gM[p.m + i] += total<T, V>(wide[i]) + narrow[i];
}

#define BY_DEGREE(call)                                                                                      \
  switch (p.d1) {                                                                                            \
    case 1: call(1); break;                                                                                  \
    case 3: call(3); break;                                                                                  \
    case 5: call(5); break;                                                                                  \
    case 7: call(7); break;                                                                                  \
    case 9: call(9); break;                                                                                  \
    case 11: call(11); break;                                                                                \
    case 13: call(13); break;                                                                                \
  }

// edges in `order` (or as they come), those of one z together: [start[n], start[n + 1])
template <class T>
void convolve(const Messages& f, const T* x, const T* y, const T* w, i64 w_stride, const i64* order, const i64* source,
              const i64* start, i64 nodes, T* z, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<T> M(f.matrix + 1);
#pragma omp for schedule(dynamic, 8)
    for (i64 n = 0; n < nodes; ++n) {
      i64 first = start ? start[n] : n, last = start ? start[n + 1] : n + 1;
      for (i64 i = first; i < last; ++i) {
        i64 e = order ? order[i] : i;
        matrices(f, y + e * f.dim_y, M.data());
        const T *from = x + (source ? source[e] : e) * f.dim_x, *weight = w + e * w_stride;
        for (i64 k = 0; k < f.paths; ++k) {
          const Path& p = f.path[k];
#define CALL(D) message_path<T, D>(p, from, weight, M.data(), z + n * f.dim_z)
          BY_DEGREE(CALL)
#undef CALL
        }
      }
    }
  }
}

template <class T>
void convolve_back(const Messages& f, const T* x, const T* y, const T* w, i64 w_stride, const T* g, const i64* order,
                   const i64* source, const i64* start, i64 nodes, i64 sources, T* gx, T* gy, T* gw, int threads) {
  // without `source` every edge has an x of its own; with it edges of different threads may meet in one
  bool shared = gx && source && threads > 1;
  std::vector<T> parts(shared ? (threads - 1) * sources * f.dim_x : 0, T(0));
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    int id = 0;
#ifdef _OPENMP
    id = omp_get_thread_num();
#endif
    T* mine = shared && id ? parts.data() + (id - 1) * sources * f.dim_x : gx;
    std::vector<T> M(f.matrix + 1), gM(f.matrix + 1);
    const T* c = (const T*)f.coefficient;
#pragma omp for schedule(dynamic, 8)
    for (i64 n = 0; n < nodes; ++n) {
      i64 first = start ? start[n] : n, last = start ? start[n + 1] : n + 1;
      for (i64 i = first; i < last; ++i) {
        i64 e = order ? order[i] : i, s = source ? source[e] : e;
        matrices(f, y + e * f.dim_y, M.data());
        if (gy) std::memset(gM.data(), 0, f.matrix * sizeof(T));
        for (i64 k = 0; k < f.paths; ++k) {
          const Path& p = f.path[k];
#define CALL(D)                                                                                              \
  message_path_back<T, D>(p, x + s * f.dim_x, w + e * w_stride, M.data(), g + n * f.dim_z,                    \
                          mine ? mine + s * f.dim_x : nullptr, gw ? gw + e * f.dim_w : nullptr,               \
                          gy ? gM.data() : nullptr)
          BY_DEGREE(CALL)
#undef CALL
        }
        if (gy)
          for (i64 k = 0; k < f.entries; ++k) gy[e * f.dim_y + f.entry_y[k]] += c[k] * gM[f.entry_m[k]];
      }
    }
  }
  if (shared)
    for (int t = 1; t < threads; ++t) {
      const T* part = parts.data() + (t - 1) * sources * f.dim_x;
      for (i64 i = 0; i < sources * f.dim_x; ++i) gx[i] += part[i];
    }
}

// blocks (offset, channels, components): to components first, or back
template <class T> void relayout(const T* x, T* z, i64 rows, i64 dim, i64 blocks, const i64* block, bool back, int threads) {
  constexpr int W = WIDTH / sizeof(T);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
  for (i64 r = 0; r < rows; ++r)
    for (i64 b = 0; b < blocks; ++b) {
      const i64 *k = block + 3 * b, channels = k[1], n = k[2];
      const T* from = x + r * dim + k[0];
      T* to = z + r * dim + k[0];
      if (n == 1) {
        std::memcpy(to, from, channels * sizeof(T));
        continue;
      }
      i64 u = 0;
      if (n >= Tile<T>::q)
        for (; u + W <= channels; u += W)
          for (i64 c = 0; c < n; c += Tile<T>::q) {
            i64 at = c + Tile<T>::q <= n ? c : n - Tile<T>::q;
            if (back) Tile<T>::write(from + at * channels + u, channels, to + u * n + at, n);
            else Tile<T>::read(from + u * n + at, n, to + at * channels + u, channels);
          }
      if (back)
        for (; u < channels; ++u)
          for (i64 c = 0; c < n; ++c) to[u * n + c] = from[c * channels + u];
      else
        for (; u < channels; ++u)
          for (i64 c = 0; c < n; ++c) to[c * channels + u] = from[u * n + c];
    }
}

}  // namespace

#define EXPORT(T, name)                                                                                                 \
  extern "C" void products_##name(const Form* form, const Leg* legs, i64 has_g, i64 rows, i64 channels, i64 threads) { \
    any_products<T>(*form, legs, has_g != 0, rows, channels, (int)threads);                                            \
  }                                                                                                                    \
  extern "C" void convolve_##name(const Messages* f, const T* x, const T* y, const T* w, i64 w_stride, const i64* order, \
                                  const i64* source, const i64* start, i64 nodes, T* z, i64 threads) {                  \
    convolve<T>(*f, x, y, w, w_stride, order, source, start, nodes, z, (int)threads);                                   \
  }                                                                                                                    \
  extern "C" void convolve_back_##name(const Messages* f, const T* x, const T* y, const T* w, i64 w_stride, const T* g, \
                                       const i64* order, const i64* source, const i64* start, i64 nodes, i64 sources,   \
                                       T* gx, T* gy, T* gw, i64 threads) {                                              \
    convolve_back<T>(*f, x, y, w, w_stride, g, order, source, start, nodes, sources, gx, gy, gw, (int)threads);         \
  }                                                                                                                    \
  extern "C" void relayout_##name(const T* x, T* z, i64 rows, i64 dim, i64 blocks, const i64* block, i64 back,          \
                                  i64 threads) {                                                                        \
    relayout<T>(x, z, rows, dim, blocks, block, back != 0, (int)threads);                                              \
  }

// one library for each dtype, made when it is first asked for
EXPORT(TORSOR_REAL, real)
