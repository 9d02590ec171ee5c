// Networks whose state comes back to them, with derivatives, for training: state_trajectory_network.py and
// state_space_gru.py. One sample after another; the lanes of a vector register are pieces of sound side by side. What runs
// in real time is in state_networks.hpp.
//
// A cell is a type with
//     static constexpr int inputs, states, parameters;
//     void step(theta, u, x, next)                      from u [inputs] and the state x [states] to the next state
//     void back(theta, u, x, next_bar, u_bar, x_bar, theta_bar)
//                                                       after its step: adds the gradients by u, x and theta
// and its numbers are one array theta [parameters].
#pragma once

#include "numerics.hpp"

namespace circuitnn {

// W x + b; theta: W row after row, and b if it is biased.
template <int inputs_, int outputs_, bool biased>
struct Affine {
    static constexpr int inputs = inputs_, outputs = outputs_, parameters = outputs * (inputs + int(biased));

    template <class Real>
    CIRCUITNN_INLINE static void forward(const ScalarOf<Real>* theta, const Real* x, Real* y) {
        CIRCUITNN_UNROLL for (int row = 0; row < outputs; ++row)
            y[row] = biased ? all_lanes<Real>(theta[outputs * inputs + row]) : Real{};
        for (int k = 0; k < inputs; ++k)
            CIRCUITNN_UNROLL for (int row = 0; row < outputs; ++row) y[row] += x[k] * theta[row * inputs + k];
    }
    template <class Real>
    CIRCUITNN_INLINE static void backward(const ScalarOf<Real>* theta, const Real* x, const Real* y_bar, Real* x_bar,
                                          Real* theta_bar) {
        for (int row = 0; row < outputs; ++row) {
            CIRCUITNN_UNROLL for (int k = 0; k < inputs; ++k) {
                theta_bar[row * inputs + k] += y_bar[row] * x[k];
                x_bar[k] += y_bar[row] * theta[row * inputs + k];
            }
            if (biased) theta_bar[outputs * inputs + row] += y_bar[row];
        }
    }
};

// No such layer.
struct NoAffine {
    static constexpr int parameters = 0;
};

// Layers with tanh between them; it remembers what each of them said.
template <class Real, class First, class... Rest>
class Perceptrons {
    using Next = Perceptrons<Real, Rest...>;
    Real a[First::outputs];
    Next next;

  public:
    static constexpr int parameters = First::parameters + Next::parameters;

    CIRCUITNN_INLINE void forward(const ScalarOf<Real>* theta, const Real* x, Real* y) {
        First::template forward<Real>(theta, x, a);
        for (int k = 0; k < First::outputs; ++k) a[k] = hyperbolic_tangent(a[k]);
        next.forward(theta + First::parameters, a, y);
    }
    CIRCUITNN_INLINE void backward(const ScalarOf<Real>* theta, const Real* x, const Real* y_bar, Real* x_bar,
                                   Real* theta_bar) const {
        Real a_bar[First::outputs] = {};
        next.backward(theta + First::parameters, a, y_bar, a_bar, theta_bar + First::parameters);
        for (int k = 0; k < First::outputs; ++k) a_bar[k] *= ScalarOf<Real>(1) - a[k] * a[k];
        First::template backward<Real>(theta, x, a_bar, x_bar, theta_bar);
    }
};
template <class Real, class Last>
class Perceptrons<Real, Last> {
  public:
    static constexpr int parameters = Last::parameters;

    CIRCUITNN_INLINE void forward(const ScalarOf<Real>* theta, const Real* x, Real* y) {
        Last::template forward<Real>(theta, x, y);
    }
    CIRCUITNN_INLINE void backward(const ScalarOf<Real>* theta, const Real* x, const Real* y_bar, Real* x_bar,
                                   Real* theta_bar) const {
        Last::template backward<Real>(theta, x, y_bar, x_bar, theta_bar);
    }
};

// Within +-limit. Written so that what is not a number stays that.
template <class Real>
CIRCUITNN_INLINE Real held(Real x, ScalarOf<Real> limit) {
    const Real most = all_lanes<Real>(limit);
    return select<Real>(x > most, most, select<Real>(x < -most, -most, x));
}

// State Trajectory Network: x + step (layers of (u, x) + linear (u, x)), held within +-limit. theta: the linear path's if
// there is one (an Affine, else NoAffine), the layers', and step and limit, which are not trained.
template <class Real, int inputs_, int states_, class Linear, class... Layers>
class TrajectoryCell {
    using S = ScalarOf<Real>;
    using Network = Perceptrons<Real, Layers...>;
    Network network;
    Real free[states_];

  public:
    static constexpr int inputs = inputs_, states = states_,
                         parameters = Linear::parameters + Network::parameters + 2;

    void step(const S* theta, const Real* u, const Real* x, Real* next) {
        Real v[inputs + states], change[states];
        memcpy(v, u, sizeof(Real) * inputs);
        memcpy(v + inputs, x, sizeof(Real) * states);
        network.forward(theta + Linear::parameters, v, change);
        if constexpr (Linear::parameters > 0) {
            Real more[states];
            Linear::template forward<Real>(theta, v, more);
            for (int k = 0; k < states; ++k) change[k] += more[k];
        }
        for (int k = 0; k < states; ++k) {
            free[k] = x[k] + change[k] * theta[parameters - 2];
            next[k] = held(free[k], theta[parameters - 1]);
        }
    }
    void back(const S* theta, const Real* u, const Real* x, const Real* next_bar, Real* u_bar, Real* x_bar,
              Real* theta_bar) const {
        Real v[inputs + states], v_bar[inputs + states] = {}, free_bar[states], change_bar[states];
        memcpy(v, u, sizeof(Real) * inputs);
        memcpy(v + inputs, x, sizeof(Real) * states);
        for (int k = 0; k < states; ++k) {
            free_bar[k] = select<Real>(absolute(free[k]) > all_lanes<Real>(theta[parameters - 1]), Real{}, next_bar[k]);
            change_bar[k] = free_bar[k] * theta[parameters - 2];
        }
        network.backward(theta + Linear::parameters, v, change_bar, v_bar, theta_bar + Linear::parameters);
        if constexpr (Linear::parameters > 0)
            Linear::template backward<Real>(theta, v, change_bar, v_bar, theta_bar);
        for (int k = 0; k < inputs; ++k) u_bar[k] += v_bar[k];
        for (int k = 0; k < states; ++k) x_bar[k] += free_bar[k] + v_bar[inputs + k];
    }
};

// State-space GRU: h' = GRU((u, x), h) as torch.nn.GRU, x' = W h' + b, or with a linear path (an Affine, else NoAffine)
// x + linear (u, x) + W h' + b, held within +-limit. Its state is x, then h. theta: weight_ih, weight_hh, bias_ih, bias_hh
// with gates r, z, n, then W, b, and with a linear path its own, and limit, which is not trained.
template <class Real, int inputs_, int outputs, int size, class Linear>
class GruCell {
    using S = ScalarOf<Real>;
    static constexpr int seen = inputs_ + outputs, gates = 3 * size;
    using Ih = Affine<seen, gates, false>;
    using Hh = Affine<size, gates, false>;
    using Dense = Affine<size, outputs, true>;
    static constexpr int hh = Ih::parameters, bias_ih = hh + Hh::parameters, bias_hh = bias_ih + gates,
                         dense = bias_hh + gates, linear = dense + Dense::parameters;
    static constexpr bool straight = Linear::parameters > 0;
    Real r[size], z[size], n[size], own[size], h[size], free[outputs];

  public:
    static constexpr int inputs = inputs_, states = outputs + size,
                         parameters = linear + Linear::parameters + int(straight);

    void step(const S* theta, const Real* u, const Real* x, Real* next) {
        Real v[seen], from_v[gates], from_h[gates];
        memcpy(v, u, sizeof(Real) * inputs);
        memcpy(v + inputs, x, sizeof(Real) * outputs);
        const Real* before = x + outputs;
        Ih::template forward<Real>(theta, v, from_v);
        Hh::template forward<Real>(theta + hh, before, from_h);
        for (int k = 0; k < size; ++k) {
            const int kz = size + k, kn = 2 * size + k;
            r[k] = logistic<Real>(from_v[k] + from_h[k] + (theta[bias_ih + k] + theta[bias_hh + k]));
            z[k] = logistic<Real>(from_v[kz] + from_h[kz] + (theta[bias_ih + kz] + theta[bias_hh + kz]));
            own[k] = from_h[kn] + theta[bias_hh + kn];
            n[k] = hyperbolic_tangent<Real>(from_v[kn] + theta[bias_ih + kn] + r[k] * own[k]);
            h[k] = n[k] + z[k] * (before[k] - n[k]);
            next[outputs + k] = h[k];
        }
        Dense::template forward<Real>(theta + dense, h, next);
        if constexpr (straight) {
            Real more[outputs];
            Linear::template forward<Real>(theta + linear, v, more);
            for (int k = 0; k < outputs; ++k) {
                free[k] = x[k] + (more[k] + next[k]);
                next[k] = held(free[k], theta[parameters - 1]);
            }
        }
    }
    void back(const S* theta, const Real* u, const Real* x, const Real* next_bar, Real* u_bar, Real* x_bar,
              Real* theta_bar) const {
        Real v[seen], v_bar[seen] = {}, h_bar[size], v_gates_bar[gates], h_gates_bar[gates];
        memcpy(v, u, sizeof(Real) * inputs);
        memcpy(v + inputs, x, sizeof(Real) * outputs);
        const Real* before = x + outputs;
        Real made_bar[outputs];
        memcpy(made_bar, next_bar, sizeof made_bar);
        for (int k = 0; k < size; ++k) h_bar[k] = next_bar[outputs + k];
        if constexpr (straight) {
            for (int k = 0; k < outputs; ++k) {
                made_bar[k] =
                    select<Real>(absolute(free[k]) > all_lanes<Real>(theta[parameters - 1]), Real{}, made_bar[k]);
                x_bar[k] += made_bar[k];
            }
            Linear::template backward<Real>(theta + linear, v, made_bar, v_bar, theta_bar + linear);
        }
        Dense::template backward<Real>(theta + dense, h, made_bar, h_bar, theta_bar + dense);
        for (int k = 0; k < size; ++k) {
            const int kz = size + k, kn = 2 * size + k;
            const Real n_bar = h_bar[k] * (S(1) - z[k]) * (S(1) - n[k] * n[k]);
            v_gates_bar[kn] = n_bar;
            h_gates_bar[kn] = n_bar * r[k];
            v_gates_bar[k] = h_gates_bar[k] = n_bar * own[k] * r[k] * (S(1) - r[k]);
            v_gates_bar[kz] = h_gates_bar[kz] = h_bar[k] * (before[k] - n[k]) * z[k] * (S(1) - z[k]);
            x_bar[outputs + k] += h_bar[k] * z[k];
        }
        for (int k = 0; k < gates; ++k) {
            theta_bar[bias_ih + k] += v_gates_bar[k];
            theta_bar[bias_hh + k] += h_gates_bar[k];
        }
        Ih::template backward<Real>(theta, v, v_gates_bar, v_bar, theta_bar);
        Hh::template backward<Real>(theta + hh, before, h_gates_bar, x_bar + outputs, theta_bar + hh);
        for (int k = 0; k < inputs; ++k) u_bar[k] += v_bar[k];
        for (int k = 0; k < outputs; ++k) x_bar[k] += v_bar[inputs + k];
    }
};

// u [groups, time, inputs, lanes], x [groups, states, lanes] -> xs [groups, time, states, lanes].
template <class Real, class Cell>
void run_cell(int64_t groups, int64_t time, const ScalarOf<Real>* theta, const Real* u, const Real* x, Real* xs) {
    Cell cell;
    for (int64_t group = 0; group < groups; ++group, x += Cell::states) {
        const Real* before = x;
        for (int64_t n = 0; n < time; ++n, u += Cell::inputs, xs += Cell::states) {
            cell.step(theta, u, before, xs);
            before = xs;
        }
    }
}

// The gradients u_bar and x_bar, shaped as u and x, and theta_bar [parameters], from those by xs and the xs that a run has
// left.
template <class Real, class Cell>
void run_cell_back(int64_t groups, int64_t time, const ScalarOf<Real>* theta, const Real* u, const Real* x, const Real* xs,
                   const Real* xs_bar, Real* u_bar, Real* x_bar, ScalarOf<Real>* theta_bar) {
    constexpr int inputs = Cell::inputs, states = Cell::states;
    Cell cell;
    Real sums[Cell::parameters] = {}, again[states];
    for (int64_t group = 0; group < groups; ++group, x += states, x_bar += states) {
        const int64_t first = group * time;
        Real bar[states] = {}, before_bar[states];
        for (int64_t n = first + time - 1; n >= first; --n) {
            const Real *now = u + n * inputs, *before = n > first ? xs + (n - 1) * states : x;
            for (int k = 0; k < states; ++k) {
                bar[k] += xs_bar[n * states + k];
                before_bar[k] = Real{};
            }
            for (int k = 0; k < inputs; ++k) u_bar[n * inputs + k] = Real{};
            cell.step(theta, now, before, again);
            cell.back(theta, now, before, bar, u_bar + n * inputs, before_bar, sums);
            memcpy(bar, before_bar, sizeof bar);
        }
        memcpy(x_bar, bar, sizeof bar);
    }
    for (int k = 0; k < Cell::parameters; ++k) {
        theta_bar[k] = 0;
        for (int lane = 0; lane < Traits<Real>::lanes; ++lane) theta_bar[k] += get_lane(sums[k], lane);
    }
}

}  // namespace circuitnn

// Lanes: DoubleLanes or FloatLanes; what follows is the type of the cell, in which they are called Number.
#define CIRCUITNN_RECURRENCE(Lanes, ...)                                                                               \
    using Number = circuitnn::Lanes;                                                                                   \
    using Cell = __VA_ARGS__;                                                                                          \
    using Scalar = circuitnn::ScalarOf<Number>;                                                                        \
    extern "C" void circuitnn_run(int64_t groups, int64_t time, const Scalar* theta, const Number* u, const Number* x, \
                                  Number* xs) {                                                                        \
        circuitnn::run_cell<Number, Cell>(groups, time, theta, u, x, xs);                                              \
    }                                                                                                                  \
    extern "C" void circuitnn_back(int64_t groups, int64_t time, const Scalar* theta, const Number* u,                 \
                                   const Number* x, const Number* xs, const Number* xs_bar, Number* u_bar,             \
                                   Number* x_bar, Scalar* theta_bar) {                                                 \
        circuitnn::run_cell_back<Number, Cell>(groups, time, theta, u, x, xs, xs_bar, u_bar, x_bar, theta_bar);        \
    }
