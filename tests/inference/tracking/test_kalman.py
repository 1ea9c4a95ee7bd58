import numpy as np

from effdet.inference.tracking import kalman


def test_state_and_box_are_inverse():
    boxes = np.array([[1.0, 2, 11, 42], [0, 0, 3, 1]])
    assert np.allclose(kalman.to_boxes(kalman.to_state(boxes)), boxes)


def test_a_steady_motion_is_learnt():
    box = np.array([[10.0, 10, 30, 50]])
    means, covariances = kalman.start(box)
    for step in range(1, 31):
        means, covariances = kalman.predict(means, covariances)
        means, covariances = kalman.update(means, covariances, box + 3.0 * step)
    means, _ = kalman.predict(means, covariances)
    assert np.allclose(kalman.to_boxes(means), box + 3.0 * 31, atol=0.2)
    assert np.allclose(means[0, 4:6], 3, atol=0.05)


def test_a_longer_step_is_several_steps_in_the_mean():
    means, covariances = kalman.start(np.array([[10.0, 10, 30, 50]]))
    means[:, 4:] = (3, -1, 0.01, 0.5)
    once, spread = kalman.predict(means, covariances, 3.0)
    thrice = means, covariances
    for _ in range(3):
        thrice = kalman.predict(*thrice)
    assert np.allclose(once, thrice[0])
    one_step = np.trace(kalman.predict(means, covariances)[1][0, :4, :4])
    assert one_step < np.trace(spread[0, :4, :4])
    for whole, default in zip(kalman.predict(means, covariances, 1.0), kalman.predict(means, covariances), strict=True):
        assert np.array_equal(whole, default)


def test_update_against_the_textbook():
    # One track, with the matrices written out: K = P Hᵀ (H P Hᵀ + R)⁻¹, x + K (z - H x), (I - K H) P.
    box, seen = np.array([[0.0, 0, 20, 40]]), np.array([[2.0, 1, 24, 43]])
    mean, covariance = kalman.predict(*kalman.start(box))
    h = np.eye(4, 8)
    r = np.diag(np.array([40 / 20, 40 / 20, 0.1, 40 / 20]) ** 2)
    gain = covariance[0] @ h.T @ np.linalg.inv(h @ covariance[0] @ h.T + r)
    expected = mean[0] + gain @ (kalman.to_state(seen)[0] - h @ mean[0])
    found, after = kalman.update(mean, covariance, seen)
    assert np.allclose(found[0], expected)
    assert np.allclose(after[0], (np.eye(8) - gain @ h) @ covariance[0])


def test_tracks_do_not_mix_and_none_is_fine():
    boxes = np.array([[0.0, 0, 10, 10], [100, 50, 160, 90]])
    both = kalman.update(*kalman.predict(*kalman.start(boxes)), boxes + 1)
    for row in range(2):
        alone = kalman.update(*kalman.predict(*kalman.start(boxes[[row]])), boxes[[row]] + 1)
        assert np.allclose(both[0][row], alone[0][0]) and np.allclose(both[1][row], alone[1][0])
    means, covariances = kalman.predict(*kalman.start(np.zeros((0, 4))))
    assert means.shape == (0, 8) and covariances.shape == (0, 8, 8)
