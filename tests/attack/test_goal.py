def test_x(digits, linear):

    from jaxcnn import attack

    f = attack.judge(digits.logits_fn, digits.x, digits.x, digits.y)
    print(f.success.mean(), f.robust_accuracy)
    assert f.robust_accuracy > 0.9
