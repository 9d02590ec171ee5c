// How a circuit is described to the core: its devices in stages, and where its numbers are.
#pragma once

#include "matrices.hpp"

namespace circuitnn {

template <int N>
struct Constant {
    static constexpr int value = N;
};

// Devices that are solved together, with the position of each one's first port and first coefficient.
template <class... Laws>
struct Stage {
    static constexpr int ports = (0 + ... + Laws::ports);
    static constexpr int coefficients = (0 + ... + Laws::coefficients);
    static constexpr int widest = [] {
        int most = 1;
        ((most = Laws::ports > most ? Laws::ports : most), ...);
        return most;
    }();
    // Whether the junctions' curvature bounds the error of every variable.
    static constexpr bool junctions_only = (true && ... && Laws::junctions_only);

    // visit(law, Constant<first port>, Constant<first coefficient>)
    template <int port, int coefficient, class Visit>
    CIRCUITNN_INLINE static inline void each(Visit&& visit) {
        next<port, coefficient, Visit, Laws...>(visit);
    }

  private:
    template <int port, int coefficient, class Visit>
    CIRCUITNN_INLINE static inline void next(Visit&) {}
    template <int port, int coefficient, class Visit, class Law, class... Rest>
    CIRCUITNN_INLINE static inline void next(Visit& visit) {
        visit(Law{}, Constant<port>{}, Constant<coefficient>{});
        next<port + Law::ports, coefficient + Law::coefficients, Visit, Rest...>(visit);
    }
};

template <class... Stages>
struct Sequence {
    static constexpr int ports = (0 + ... + Stages::ports);
    static constexpr int coefficients = (0 + ... + Stages::coefficients);
    static constexpr int widest = [] {
        int most = 1;
        ((most = Stages::widest > most ? Stages::widest : most), ...);
        return most;
    }();

    // visit(stage, Constant<first port>, Constant<first coefficient>), first to last or last to first
    template <class Visit>
    CIRCUITNN_INLINE static inline void each(Visit&& visit) {
        next<true, 0, 0, Visit, Stages...>(visit);
    }
    template <class Visit>
    CIRCUITNN_INLINE static inline void each_reversed(Visit&& visit) {
        next<false, 0, 0, Visit, Stages...>(visit);
    }
    // visit(law, Constant<first port>, Constant<first coefficient>)
    template <class Visit>
    CIRCUITNN_INLINE static inline void each_law(Visit&& visit) {
        each([&](auto stage, auto port, auto coefficient) CIRCUITNN_INLINE {
            decltype(stage)::template each<decltype(port)::value, decltype(coefficient)::value>(visit);
        });
    }

  private:
    template <bool forwards, int port, int coefficient, class Visit>
    CIRCUITNN_INLINE static inline void next(Visit&) {}
    template <bool forwards, int port, int coefficient, class Visit, class One, class... Rest>
    CIRCUITNN_INLINE static inline void next(Visit& visit) {
        if constexpr (forwards) visit(One{}, Constant<port>{}, Constant<coefficient>{});
        next<forwards, port + One::ports, coefficient + One::coefficients, Visit, Rest...>(visit);
        if constexpr (!forwards) visit(One{}, Constant<port>{}, Constant<coefficient>{});
    }
};

template <class Circuit>
struct Layout {
    static constexpr int X = Circuit::n_x, U = Circuit::n_u + 1, Y = Circuit::n_y, N = Circuit::Stages::ports;
    static constexpr int A = 0, B = A + X * X, C = B + X * U, D = C + X * N, E = D + Y * X, F = E + Y * U;
    static constexpr int R_x = F + Y * N, R_u = R_x + N * X, P = R_u + N * U, Q = P + N * N, K = Q + N * N;
    static constexpr int coefficients = Circuit::Stages::coefficients, size = K + coefficients;
};

// P and Q of one stage by columns, for its own ports and all before it; one after another, found by the first port.
template <int port, class Real, class Stages>
struct Couplings {
    template <int at>
    const Couplings& stage() const {
        return *this;
    }
};
template <int port, class Real, class S, class... Rest>
struct Couplings<port, Real, Sequence<S, Rest...>> : Couplings<port + S::ports, Real, Sequence<Rest...>> {
    using Next = Couplings<port + S::ports, Real, Sequence<Rest...>>;
    Column<Real, S::ports> P[port + S::ports], Q[port + S::ports];

    template <int at>
    CIRCUITNN_INLINE const auto& stage() const {
        if constexpr (at == port)
            return *this;
        else
            return Next::template stage<at>();
    }

    // visit(entry of P, entry of Q, row, column)
    template <class Visit>
    void each(Visit&& visit) {
        for (int column = 0; column < port + S::ports; ++column)
            for (int row = 0; row < S::ports; ++row) visit(P[column][row], Q[column][row], port + row, column);
        if constexpr (sizeof...(Rest) > 0) Next::each(visit);
    }
};

// The numbers of a circuit as the core reads them: everything that a state or an input contributes in one column.
template <class Circuit, class Real>
struct alignas(64) Numbers {
    using L = Layout<Circuit>;
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, slots = at_least_one(N);
    Column<Real, X + Y + N> state[at_least_one(X)], input[U];  // columns of (A; D; R_x) and of (B; E; R_u)
    Column<Real, X + Y + N> free[slots];                       // columns of (C; F; 0)
    Couplings<0, Real, typename Circuit::Stages> couplings;
    Real coefficients[at_least_one(L::coefficients)];

    // visit(number, its position in theta)
    template <class Visit>
    void each(Visit&& visit) {
        for (int row = 0; row < X + Y + N; ++row) {
            const bool next = row < X, out = !next && row < X + Y;
            const int own = next ? row : out ? row - X : row - X - Y;
            for (int k = 0; k < X; ++k) visit(state[k][row], (next ? L::A : out ? L::D : L::R_x) + own * X + k);
            for (int k = 0; k < U; ++k) visit(input[k][row], (next ? L::B : out ? L::E : L::R_u) + own * U + k);
            if (row < X + Y)
                for (int k = 0; k < N; ++k) visit(free[k][row], (next ? L::C : L::F) + own * N + k);
        }
        if constexpr (N > 0)
            couplings.each([&](Real& in_P, Real& in_Q, int own, int column) {
                visit(in_P, L::P + own * N + column);
                visit(in_Q, L::Q + own * N + column);
            });
        for (int k = 0; k < L::coefficients; ++k) visit(coefficients[k], L::K + k);
    }

    // The numbers of one lane of others.
    template <class Others>
    void take(const Others& others, int lane) {
        double theta[L::size];
        const_cast<Others&>(others).each([&](auto& number, int k) { theta[k] = double(get_lane(number, lane)); });
        each([&](Real& number, int k) { number = Real(theta[k]); });
    }
};

// block += other * factor for two structs of nothing but Real.
template <class Real, class Block>
inline void add_numbers(Block& block, const Block& other, ScalarOf<Real> factor) {
    Real* mine = reinterpret_cast<Real*>(&block);
    const Real* more = reinterpret_cast<const Real*>(&other);
    for (size_t k = 0; k < sizeof(Block) / sizeof(Real); ++k) mine[k] += more[k] * factor;
}

}  // namespace circuitnn
